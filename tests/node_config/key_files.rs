use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use ketch_node::{KeyFileProblem, NetworkKey, create_network_key, read_network_key};
use tempfile::TempDir;

const SECRET: [u8; 32] = *b"\x00\x01\xfeonly the owner may read me!!\xff";

/// A key file of this content and mode.
fn file(folder: &TempDir, content: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("network.key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn digits() -> String {
    hex::encode(SECRET)
}

#[test]
fn a_key_that_was_made_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.key");
    create_network_key(&path, &NetworkKey::new(SECRET)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", digits()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(read_network_key(&path).unwrap().secret_bytes(), &SECRET);
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "something else", 0o600);
    let refused = create_network_key(&path, &NetworkKey::new(SECRET)).unwrap_err();
    assert!(refused.to_string().contains("network.key: "), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
}

#[test]
fn a_key_in_a_folder_that_is_not_there_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/network.key");
    assert!(create_network_key(&path, &NetworkKey::new(SECRET)).is_err());
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_file_that_others_may_touch_is_refused_with_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    for bit in 0..6 {
        let mode = 0o600 | 1 << bit;
        let path = file(&folder, &format!("{}\n", digits()), mode);
        let refused = read_network_key(&path).unwrap_err();
        assert!(
            matches!(refused.problem, KeyFileProblem::Mode { mode: found, .. } if found == mode)
        );
        let path = path.display();
        let said = refused.to_string();
        assert!(said.starts_with(&format!("{path}: the mode is {mode:04o}, ")), "{said}");
        assert!(said.ends_with(&format!("chmod 600 {path}")), "{said}");
    }
    for mode in [0o600, 0o400, 0o700] {
        let path = file(&folder, &format!("{}\n", digits()), mode);
        assert!(read_network_key(&path).is_ok(), "{mode:o}");
    }
}

#[test]
fn what_is_no_key_is_refused_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let key = digits();
    let cases = [
        (String::new(), "length"),
        (key.clone(), "length"),
        (format!("{}\n", &key[2..]), "length"),
        (format!("{key}\n\n"), "length"),
        (format!("{key}\r\n"), "length"),
        (format!("{key}{key}"), "length"),
        (format!("{key} "), "character 65"),
        (format!("{}g\n", &key[1..]), "character 64"),
        (format!("+{}\n", &key[1..]), "character 1 "),
        (format!("{}é\n", &key[2..]), "character 63"),
    ];
    for (content, reason) in cases {
        let refused = read_network_key(&file(&folder, &content, 0o600)).unwrap_err();
        let said = format!("{refused} {refused:?}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains(&key[10..20]), "{said}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = read_network_key(folder.path()).unwrap_err();
    assert!(matches!(refused.problem, KeyFileProblem::NotRegular));
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let refused = read_network_key(&pipe).unwrap_err();
    assert!(
        matches!(refused.problem, KeyFileProblem::NotRegular),
        "and nothing waits for a writer"
    );
    let refused = read_network_key(&folder.path().join("none")).unwrap_err();
    assert!(matches!(refused.problem, KeyFileProblem::Io(_)));
}
