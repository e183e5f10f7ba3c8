use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::error::{ConfigError, ConfigProblem, Origin};
use super::setting::Setting;
use super::written::{self, SECTIONS};
use crate::toml_file::FilePlace;

/// The texts that a configuration is made of.
///
/// *Shape:* spans count through all of them. An offset up to the length of the file's text is a byte
/// of it, or its end; each one behind that is a setting. So every value knows where it comes from,
/// and what reads it need not.
pub(super) struct Sources {
    path: PathBuf,
    text: String,
    settings: Vec<Setting>,
}

impl Sources {
    /// The file at `path` beneath `settings`, of which a later one wins.
    pub(super) fn read(path: &Path, settings: Vec<Setting>) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError {
            origin: Origin::File(path.to_owned()),
            problem: error.into(),
        })?;
        Ok(Self { path: path.to_owned(), text, settings })
    }

    /// What all texts together say.
    pub(super) fn parse(&self) -> Result<written::Config, ConfigError> {
        let mut root = DeTable::parse(&self.text).map_err(|error| self.no_toml(&error))?;
        let table = root.get_mut();
        self.check_sections(table)?;
        for (setting, place) in self.settings.iter().zip(self.text.len() + 1..) {
            overlay(table, setting, place);
        }
        written::Config::deserialize(Deserializer::from(root)).map_err(|error| self.no_toml(&error))
    }

    /// The error that `problem` is in what stands at `value`.
    pub(super) fn refuse<T>(
        &self,
        value: &Spanned<T>,
        problem: impl Into<ConfigProblem>,
    ) -> ConfigError {
        ConfigError { origin: self.origin(value.span()), problem: problem.into() }
    }

    /// A path of `key`: one from the file is relative to the file's folder.
    pub(super) fn resolve(
        &self,
        key: &'static str,
        path: &Spanned<PathBuf>,
    ) -> Result<PathBuf, ConfigError> {
        if path.get_ref().as_os_str().is_empty() {
            return Err(self.refuse(path, ConfigProblem::EmptyPath(key)));
        }
        let from_file = path.span().start <= self.text.len();
        let folder = self.path.parent().filter(|_| from_file);
        Ok(folder.unwrap_or(Path::new("")).join(path.get_ref()))
    }

    /// A struct is read from a list too, in the order of its fields: a section is none.
    fn check_sections(&self, table: &DeTable<'_>) -> Result<(), ConfigError> {
        let other = SECTIONS.into_iter().find_map(|section| {
            let value = table.get(section).filter(|value| !value.get_ref().is_table())?;
            Some(self.refuse(value, ConfigProblem::NotSection(section)))
        });
        other.map_or(Ok(()), Err)
    }

    fn no_toml(&self, error: &toml::de::Error) -> ConfigError {
        let origin = error.span().map(|span| self.origin(span));
        ConfigError {
            origin: origin.unwrap_or_else(|| Origin::File(self.path.clone())),
            problem: ConfigProblem::Text(error.message().to_owned()),
        }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let setting = span.start.checked_sub(self.text.len() + 1);
        match setting.and_then(|at| self.settings.get(at)) {
            Some(setting) => setting.origin.clone(),
            None => Origin::Place(FilePlace::new(&self.path, &self.text, span.start)),
        }
    }
}

/// Puts a setting, which stands at `place`, over what the table has for its key.
fn overlay<'a>(table: &mut DeTable<'a>, setting: &'a Setting, place: usize) {
    let table = match setting.section {
        None => Some(table),
        Some(section) => {
            let empty = || Spanned::new(place..place, DeValue::Table(DeTable::new()));
            let name = Spanned::new(place..place, section.into());
            match table.entry(name).or_insert_with(empty).get_mut() {
                DeValue::Table(section) => Some(section),
                // Sections were checked to be tables.
                _ => None,
            }
        }
    };
    if let Some(table) = table {
        table.insert(Spanned::new(place..place, setting.key.as_str().into()), setting.value(place));
    }
}
