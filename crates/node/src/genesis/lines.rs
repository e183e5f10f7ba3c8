use serde::Deserialize;

use super::{Entries, GenesisProblem, Located};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    key: String,
    value: String,
}

/// The entries of JSON lines; empty lines are passed over.
pub(super) fn json_lines(bytes: &[u8]) -> Result<Entries, Located> {
    let mut entries = Entries::new();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let row: Row =
            serde_json::from_slice(text).map_err(|error| Located::json(&error, Some(line)))?;
        let at_line = |problem| Located { line: Some(line), column: None, problem };
        let key = decode("key", &row.key).map_err(at_line)?;
        let value = decode("value", &row.value).map_err(at_line)?;
        entries.insert(key, value);
    }
    Ok(entries)
}

/// The entries of tab-separated text; a line without a byte is passed over.
pub(super) fn tab_separated(bytes: &[u8]) -> Result<Entries, Located> {
    let mut entries = Entries::new();
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if text.is_empty() {
            continue;
        }
        let tab = text.iter().position(|byte| *byte == b'\t');
        let at_line = |problem| Located { line: Some(line), column: None, problem };
        let (key, value) = tab
            .and_then(|tab| text.split_at_checked(tab))
            .ok_or_else(|| at_line(GenesisProblem::NoTab))?;
        if key.is_empty() {
            return Err(at_line(ketch_trie::EntryError::EmptyKey.into()));
        }
        entries.insert(key.to_vec(), value.get(1..).unwrap_or_default().to_vec());
    }
    Ok(entries)
}

fn decode(what: &str, digits: &str) -> Result<Vec<u8>, GenesisProblem> {
    hex::decode(digits).map_err(|error| GenesisProblem::Hex { what: what.to_owned(), error })
}
