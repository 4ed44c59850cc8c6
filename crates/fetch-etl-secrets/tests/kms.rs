use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_secrets::{
    AwsOptions, KmsOptions, KmsWrappedSecret, MAX_SECRET_BYTES, SecretError, SecretSource as _,
};
use serde_json::json;
use tempfile::TempDir;

use crate::scripted::{Answer, Call, Scripted, nowhere, sdk};
use crate::support::{CANARY, refusal, secret};

/// A directory with a file.
struct Wrapped(TempDir);

impl Wrapped {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let wrapped = Self(tempfile::tempdir().unwrap());
        fs::write(wrapped.path(), content).unwrap();
        wrapped
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("key.encrypted")
    }

    fn at(&self, options: AwsOptions) -> KmsWrappedSecret {
        KmsWrappedSecret::connect_with(self.path(), KmsOptions::default(), options, &sdk()).unwrap()
    }
}

async fn decrypting(plaintext: impl AsRef<[u8]>) -> Scripted {
    let plaintext = STANDARD.encode(plaintext);
    let answer = json!({
        "KeyId": "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "Plaintext": plaintext,
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"
    });
    Scripted::start(move |_| Answer::Ok(answer.clone())).await
}

fn call(body: serde_json::Value) -> Call {
    let (target, content_type) = ("TrentService.Decrypt".to_owned(), "application/x-amz-json-1.1".to_owned());
    Call { target, content_type, body }
}

#[tokio::test]
async fn what_the_file_holds_is_sent_and_what_comes_back_is_the_secret() {
    let server = decrypting("hunter2\n").await;
    let wrapped = Wrapped::new("Y2lwaGVydGV4dA==\n");
    let source = wrapped.at(server.options());
    assert_eq!(secret(&source).await, CANARY);
    assert_eq!(server.calls(), [call(json!({"CiphertextBlob": "Y2lwaGVydGV4dA=="}))]);
    let place = format!("the file {}, decrypted by AWS KMS at {}", wrapped.path().display(), server.url());
    assert_eq!(source.describe(), place);
    assert_eq!(format!("{source:?}"), format!("KmsWrappedSecret({place:?})"));
}

#[tokio::test]
async fn the_key_and_the_context_are_sent_where_they_are_set() {
    let server = decrypting(CANARY).await;
    let wrapped = Wrapped::new("Y2lwaGVy\r\ndGV4dA==\r\n");
    let kms = KmsOptions {
        key_id: Some("alias/etl".to_owned()),
        encryption_context: BTreeMap::from([("app".to_owned(), "etl".to_owned())]),
    };
    let source = KmsWrappedSecret::connect_with(wrapped.path(), kms, server.options(), &sdk()).unwrap();
    assert_eq!(secret(&source).await, CANARY);
    let body = json!({
        "CiphertextBlob": "Y2lwaGVydGV4dA==", "KeyId": "alias/etl", "EncryptionContext": {"app": "etl"}
    });
    assert_eq!(server.calls(), [call(body)]);
}

#[tokio::test]
async fn a_key_of_raw_bytes_becomes_base64() {
    let wrapped = Wrapped::new("AAEC");
    let raw: Vec<u8> = (0..32).collect();
    let server = decrypting(&raw).await;
    assert_eq!(secret(&wrapped.at(server.options())).await, STANDARD.encode(&raw));
}

#[tokio::test]
async fn a_file_without_a_ciphertext_is_refused_before_kms_is_asked() {
    let server = decrypting(CANARY).await;
    let long = STANDARD.encode([0; 6145]);
    for (content, said) in [
        ("", "empty"),
        (" \n", "empty"),
        ("hunter2!", "no base64; write it with `aws kms encrypt … --query CiphertextBlob --output text`"),
        (long.as_str(), "longer than any ciphertext of KMS (6144 bytes)"),
        (&"A".repeat(MAX_SECRET_BYTES + 1), "larger than 64 KiB, which no secret is"),
    ] {
        let wrapped = Wrapped::new(content);
        let error = refusal(&wrapped.at(server.options())).await;
        assert_eq!(error.to_string(), format!("the file {}: {said}", wrapped.path().display()));
    }
    let wrapped = Wrapped::new("");
    fs::remove_file(wrapped.path()).unwrap();
    let error = refusal(&wrapped.at(server.options())).await;
    assert!(matches!(error, SecretError::NotFound { .. }), "{error:?}");
    assert_eq!(server.calls(), []);
}

#[tokio::test]
async fn a_plaintext_that_is_no_secret_is_refused() {
    let wrapped = Wrapped::new("AAEC");
    for (plaintext, empty) in
        [(" \n".to_owned(), true), (CANARY.repeat(MAX_SECRET_BYTES), false), ("\0".repeat(50_000), false)]
    {
        let server = decrypting(plaintext).await;
        let source = wrapped.at(server.options());
        let place = source.describe();
        let expected = if empty { SecretError::Empty { place } } else { SecretError::TooLarge { place } };
        assert_eq!(refusal(&source).await, expected);
    }
    let server = Scripted::start(|_| Answer::Ok(json!({}))).await;
    let error = refusal(&wrapped.at(server.options())).await;
    assert!(matches!(error, SecretError::Empty { .. }), "{error:?}");
}

#[tokio::test]
async fn the_services_errors_are_told_in_our_words() {
    let wrapped = Wrapped::new("AAEC");
    for (code, class, said) in [
        (
            "NotFoundException",
            "NotFound",
            "the KMS key does not exist; check its id, the region and the account",
        ),
        (
            "AccessDeniedException",
            "Denied",
            "access denied; allow kms:Decrypt on the key, which must be of this region and account or shared with it",
        ),
        (
            "InvalidCiphertextException",
            "Unusable",
            "the file was changed or cut off, or the encryption context or the region is another one",
        ),
        ("IncorrectKeyException", "Unusable", "it was encrypted by another KMS key than the one that is set"),
        ("DisabledException", "Unusable", "its KMS key is disabled"),
        (
            "KMSInvalidStateException",
            "Unusable",
            "its KMS key cannot be used in its present state; it may be pending deletion",
        ),
        ("InvalidKeyUsageException", "Unusable", "its KMS key is not one that decrypts"),
        ("ValidationException", "Misconfigured", "the service refuses the question"),
    ] {
        let server = Scripted::start(move |_| Answer::Error(400, code)).await;
        let source = wrapped.at(server.options());
        let error = refusal(&source).await;
        assert!(format!("{error:?}").starts_with(class) && !error.is_retryable(), "{error:?}");
        let marks = format!("({code}, HTTP 400, request 00000000-feed)");
        assert_eq!(error.to_string(), format!("{}: {said} {marks}", source.describe()));
        assert_eq!(server.calls().len(), 1);
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_asked_again_and_given_up_in_the_end() {
    let wrapped = Wrapped::new("AAEC");
    let plaintext = STANDARD.encode(CANARY);
    let server = Scripted::start(move |before| match before {
        0 => Answer::Error(400, "ThrottlingException"),
        1 => Answer::Error(500, "KeyUnavailableException"),
        2 => Answer::Html(503),
        3 => Answer::Cut,
        _ => Answer::Ok(json!({"Plaintext": plaintext})),
    });
    let server = server.await;
    assert_eq!(secret(&wrapped.at(server.options())).await, CANARY);
    assert_eq!(server.calls().len(), 5);
    let failing = Scripted::start(|_| Answer::Error(500, "KMSInternalException")).await;
    let error = refusal(&wrapped.at(failing.options())).await;
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(failing.calls().len(), 5);
    let error = refusal(&wrapped.at(nowhere().await)).await;
    assert!(error.is_retryable() && error.to_string().ends_with(": connection refused"), "{error}");
}

/// With a clock that jumps to the next timer whenever nothing else is to do.
#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_given_up() {
    let wrapped = Wrapped::new("AAEC");
    let server = Scripted::start(|_| Answer::Silence).await;
    let error = refusal(&wrapped.at(server.options())).await;
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_an_arn_states_the_region() {
    let kms = |key: &str| KmsOptions { key_id: Some(key.to_owned()), ..KmsOptions::default() };
    let error = KmsWrappedSecret::connect("key", kms("hunter2 "), AwsOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the KMS key: a name or ARN has 1 to 2048 ASCII characters without spaces");
    let arn = kms("arn:aws:kms:ap-south-1:123456789012:key/1");
    let source = KmsWrappedSecret::connect_with("key", arn, AwsOptions::default(), &sdk()).unwrap();
    assert_eq!(source.describe(), "the file key, decrypted by AWS KMS in ap-south-1");
}
