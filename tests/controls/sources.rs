//! What the tests' sources hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub(super) fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every file below a folder, or the file itself.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// The full names of the tests in a file of `tests`, or in all files of a folder of it.
pub(super) fn tests_below(path: &str) -> BTreeSet<String> {
    let files = files(&root().join(path)).into_iter();
    files
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .flat_map(|file| tests_in(&file))
        .collect()
}

fn tests_in(file: &Path) -> Vec<String> {
    let module = file.strip_prefix(root().join("tests")).unwrap().with_extension("");
    let module: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
    let module = module.join("::");
    let text = fs::read_to_string(file).unwrap();
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) =
            function.and_then(|rest| rest.split_once('(')).filter(|_| is_test)
        {
            names.push(name.0.to_owned());
            is_test = false;
        } else if let Some((name, row)) = line.split_once(": ")
            && row.contains(", banned: ")
            && !row.contains('$')
        {
            // A row of the table of liars.
            names.push(name.to_owned());
        }
    }
    names.into_iter().map(|name| format!("{module}::{name}")).collect()
}
