//! Sources that need no network.

use std::fs;

use fetch_etl_secrets::{
    FileSecret, MAX_SECRET_BYTES, SecretError, SecretSource, SystemdCredential, ValueSecret,
};

use crate::support::{CANARY, refusal, secret};

#[tokio::test]
async fn a_value_is_its_own_secret() {
    let source = ValueSecret::new("masking.key", format!(" {CANARY}\n"));
    assert_eq!(secret(&source).await, CANARY);
    assert_eq!(source.describe(), "masking.key");
    assert_eq!(format!("{source:?}"), "ValueSecret { name: \"masking.key\", .. }");
    let empty = ValueSecret::new("masking.key", " \n".to_owned());
    assert_eq!(refusal(&empty).await.to_string(), "masking.key: empty");
}

#[tokio::test]
async fn a_file_is_read_anew_each_time_and_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let source = FileSecret::new(&path);
    let place = format!("the file {}", path.display());
    assert_eq!(source.describe(), place);
    let error = refusal(&source).await;
    assert!(matches!(error, SecretError::NotFound { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{place}: does not exist"));
    for content in ["hunter2 one\n", "\r\n hunter2 two \r\n"] {
        fs::write(&path, content).unwrap();
        assert_eq!(secret(&source).await, content.trim());
    }
}

#[tokio::test]
async fn a_file_that_holds_no_secret_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let place = path.display().to_string();
    let full = vec![b'x'; MAX_SECRET_BYTES];
    fs::write(&path, &full).unwrap();
    assert_eq!(secret(&FileSecret::new(&path)).await.len(), MAX_SECRET_BYTES);
    let large = [full, CANARY.into()].concat();
    for (content, expected) in [
        (b"".as_slice(), SecretError::Empty { place: format!("the file {place}") }),
        (b" \n\t", SecretError::Empty { place: format!("the file {place}") }),
        (b"hunter2\xff", SecretError::NotText { place: format!("the file {place}") }),
        (&large, SecretError::TooLarge { place: format!("the file {place}") }),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(refusal(&FileSecret::new(&path)).await, expected);
    }
    let error = refusal(&FileSecret::new(directory.path())).await;
    assert!(matches!(error, SecretError::NotReadable { .. }), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_device_does_not_fill_the_memory() {
    let error = refusal(&FileSecret::new("/dev/zero")).await;
    assert_eq!(error, SecretError::TooLarge { place: "the file /dev/zero".to_owned() });
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_is_found() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    assert_eq!(FileSecret::new(&path).permissions_finding(), None);
    fs::write(&path, CANARY).unwrap();
    for (mode, expected) in [
        (0o400, None),
        (0o600, None),
        (0o700, None),
        (0o640, Some("can be read by its group (mode 0640)")),
        (0o644, Some("can be read by its group and by everybody on this machine (mode 0644)")),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let found = FileSecret::new(&path).permissions_finding().map(|finding| finding.to_string());
        assert_eq!(found, expected.map(|text| format!("the file {} {text}", path.display())));
    }
}

#[tokio::test]
async fn a_credential_of_systemd_is_a_file_of_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("masking-key"), "hunter2\n").unwrap();
    let source = SystemdCredential::in_directory(directory.path(), "masking-key").unwrap();
    assert_eq!(secret(&source).await, CANARY);
    assert_eq!(source.describe(), "the systemd credential masking-key");
    let other = SystemdCredential::in_directory(directory.path(), "other").unwrap();
    let error = refusal(&other).await;
    assert!(matches!(error, SecretError::NotFound { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the systemd credential other: the service was not given it; its unit needs LoadCredential= or \
         LoadCredentialEncrypted= with this name"
    );
}
