use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigProblem, Origin};
use super::written::SECTIONS;

/// What every variable of ours begins with.
const PREFIX: &str = "KETCH_";
/// The one key outside of the sections.
const ROLE: &str = "role";

/// One key's value from an environment variable or a flag.
pub(super) struct Setting {
    /// The variable or the flag.
    pub(super) origin: Origin,
    /// The section; none for the one key outside of them.
    pub(super) section: Option<&'static str>,
    /// The key, which the section need not have.
    pub(super) key: String,
    text: String,
}

/// The settings of an environment and of flags, in the order in which a later one wins.
pub(super) fn settings(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[String],
) -> Result<Vec<Setting>, ConfigError> {
    // Sorted, so that of several mistakes always the same one is told.
    let variables: BTreeMap<_, _> = environment.into_iter().collect();
    let variables = variables.iter().filter_map(|(name, value)| Setting::of_variable(name, value));
    variables.chain(flags.iter().map(|flag| Setting::of_flag(flag))).collect()
}

impl Setting {
    /// The setting of an environment variable; none if the variable is not ours.
    fn of_variable(name: &OsStr, value: &OsStr) -> Option<Result<Self, ConfigError>> {
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(PREFIX)?;
        let origin = Origin::Variable(name.clone().into_owned());
        let setting = key_of_variable(rest).and_then(|(section, key)| {
            let text = value.to_str().ok_or(ConfigProblem::NotUnicode)?.to_owned();
            Ok(Self { origin: origin.clone(), section, key, text })
        });
        Some(setting.map_err(|problem| ConfigError { origin, problem }))
    }

    /// The setting of a flag, `section.key=value`.
    fn of_flag(flag: &str) -> Result<Self, ConfigError> {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let origin = Origin::Flag(name.to_owned());
        if name.len() == flag.len() {
            return Err(ConfigError { origin, problem: ConfigProblem::NoValue });
        }
        match key_of_flag(name) {
            Ok((section, key)) => Ok(Self { origin, section, key, text: value.to_owned() }),
            Err(problem) => Err(ConfigError { origin, problem }),
        }
    }

    /// The value, which stands at `place`: what TOML makes of the text, or else the text itself.
    pub(super) fn value(&self, place: usize) -> Spanned<DeValue<'_>> {
        let value = match DeValue::parse(&self.text).map(Spanned::into_inner) {
            // No key has a float or a date, but a file's name or a hash may look like one.
            Ok(value) if !value.is_float() && !value.is_datetime() => value,
            _ => DeValue::String(self.text.as_str().into()),
        };
        put(value, place)
    }
}

/// Section and key of a variable's name behind the prefix.
fn key_of_variable(name: &str) -> Result<(Option<&'static str>, String), ConfigProblem> {
    let lower = name.to_ascii_lowercase();
    if lower.to_ascii_uppercase() != name {
        return Err(ConfigProblem::NoKey);
    }
    let section = SECTIONS.into_iter().find_map(|section| {
        let key = lower.strip_prefix(section)?.strip_prefix('_')?;
        Some((Some(section), key.to_owned()))
    });
    section.map_or_else(|| top_level(&lower), Ok)
}

/// Section and key of a flag's name.
fn key_of_flag(name: &str) -> Result<(Option<&'static str>, String), ConfigProblem> {
    let Some((section, key)) = name.split_once('.') else { return top_level(name) };
    let section = SECTIONS.into_iter().find(|known| *known == section);
    Ok((Some(section.ok_or(ConfigProblem::NoKey)?), key.to_owned()))
}

/// A name outside of the sections.
fn top_level(name: &str) -> Result<(Option<&'static str>, String), ConfigProblem> {
    match SECTIONS.into_iter().find(|section| *section == name) {
        Some(section) => Err(ConfigProblem::NotSection(section)),
        None if name == ROLE => Ok((None, name.to_owned())),
        None => Err(ConfigProblem::NoKey),
    }
}

/// The value with all that it holds at one place.
fn put(value: DeValue<'_>, place: usize) -> Spanned<DeValue<'_>> {
    let value = match value {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| put(item.into_inner(), place)).collect())
        }
        DeValue::Table(table) => DeValue::Table(put_table(table, place)),
        scalar => scalar,
    };
    Spanned::new(place..place, value)
}

fn put_table(table: DeTable<'_>, place: usize) -> DeTable<'_> {
    let put_key = |key: Spanned<_>| Spanned::new(place..place, key.into_inner());
    table.into_iter().map(|(key, item)| (put_key(key), put(item.into_inner(), place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> String {
        match key_of_variable(name) {
            Ok((section, key)) => format!("{}.{key}", section.unwrap_or_default()),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn a_variable_names_section_and_key() {
        assert_eq!(key("NETWORK_UPLOAD_LIMIT"), "network.upload_limit");
        assert_eq!(key("PART_SERVER_SHARDS"), "part_server.shards");
        assert_eq!(key("NODE_DATA"), "node.data");
        assert_eq!(key("ROLE"), ".role");
    }

    #[test]
    fn a_variable_without_section_or_in_small_letters_names_nothing() {
        for name in ["", "LISTEN", "NETWORKS_LISTEN", "network_LISTEN", "NODEDATA", "ROLE_X"] {
            assert_eq!(key(name), "names no key of the configuration", "{name}");
        }
        assert_eq!(key("PART_SERVER"), "`part_server` is a section and not a key");
    }

    #[test]
    fn no_section_hides_another() {
        for section in SECTIONS {
            let prefix = format!("{section}_");
            assert!(!SECTIONS.iter().any(|other| other.starts_with(&prefix)), "{section}");
        }
    }

    fn kind(text: &str) -> String {
        let setting = Setting::of_flag(&format!("node.data={text}")).unwrap();
        let value = setting.value(7);
        assert_eq!(value.span(), 7..7);
        format!("{} {}", value.get_ref().type_str(), value.get_ref().as_str().unwrap_or("-"))
    }

    #[test]
    fn a_value_is_toml_or_else_a_bare_text() {
        assert_eq!(kind("8"), "integer -");
        assert_eq!(kind("true"), "boolean -");
        assert_eq!(kind("\"8\""), "string 8");
        assert_eq!(kind("[\"a\"]"), "array -");
        assert_eq!(kind("{ generated = \"1MiB\" }"), "table -");
        for bare in ["8MiB", "", "a b", "127.0.0.1:0", "[::1]:0", "1.5", "12:30:00", "x=y", "#"] {
            assert_eq!(kind(bare), format!("string {bare}"));
        }
    }
}
