use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_secrets::{AwsOptions, MAX_SECRET_BYTES, SecretError, SecretSource as _, SecretsManagerSecret};
use serde_json::{Value, json};

use crate::scripted::{Answer, Call, Scripted, nowhere, sdk};
use crate::support::{CANARY, refusal, secret};

fn connect(options: AwsOptions) -> SecretsManagerSecret {
    SecretsManagerSecret::connect_with("etl/key", options, &sdk()).unwrap()
}

async fn answering(body: Value) -> (Scripted, SecretsManagerSecret) {
    let server = Scripted::start(move |_| Answer::Ok(body.clone())).await;
    let source = connect(server.options());
    (server, source)
}

/// What is said where the service always answers with this error, less the place and the request id.
async fn said(status: u16, code: &'static str) -> (SecretError, String) {
    let server = Scripted::start(move |_| Answer::Error(status, code)).await;
    let error = refusal(&connect(server.options())).await;
    let text = error.to_string();
    let place = format!("the secret etl/key of AWS Secrets Manager at {}: ", server.url());
    let marks = format!(" ({code}, HTTP {status}, request 00000000-feed)");
    let text = text.strip_prefix(&place).and_then(|text| text.strip_suffix(&marks)).map(str::to_owned);
    (error, text.unwrap())
}

/// As GetSecretValue's reference shows it.
fn whole(value: Value) -> Value {
    let mut answer = json!({
        "ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:etl/key-a1b2c3",
        "CreatedDate": 1_523_477_145.713,
        "Name": "etl/key",
        "VersionId": "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1",
        "VersionStages": ["AWSCURRENT"]
    });
    answer.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    answer
}

#[tokio::test]
async fn a_string_is_asked_for_once_and_trimmed() {
    let (server, source) = answering(whole(json!({"SecretString": "hunter2 \u{e4}\n"}))).await;
    assert_eq!(secret(&source).await, "hunter2 ä");
    let call = Call {
        target: "secretsmanager.GetSecretValue".to_owned(),
        content_type: "application/x-amz-json-1.1".to_owned(),
        body: json!({"SecretId": "etl/key"}),
    };
    assert_eq!(server.calls(), [call]);
    let place = format!("the secret etl/key of AWS Secrets Manager at {}", server.url());
    assert_eq!(source.describe(), place);
    assert_eq!(format!("{source:?}"), format!("SecretsManagerSecret({place:?})"));
}

#[tokio::test]
async fn a_binary_is_taken_for_text_or_refused() {
    let (_server, source) = answering(whole(json!({"SecretBinary": STANDARD.encode("hunter2")}))).await;
    assert_eq!(secret(&source).await, CANARY);
    let (_server, source) = answering(whole(json!({"SecretBinary": STANDARD.encode(b"hunter2\xff")}))).await;
    for source in [source.with_json_key("key"), connect(_server.options())] {
        let error = refusal(&source).await;
        assert!(matches!(error, SecretError::NotText { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn one_key_of_a_json_object_can_be_the_secret() {
    let json = json!({"other": 1, "masking_key": " hunter2\n", "number": 2}).to_string();
    for value in [json!({"SecretString": json}), json!({"SecretBinary": STANDARD.encode(&json)})] {
        let (server, source) = answering(whole(value)).await;
        assert_eq!(secret(&source.with_json_key("masking_key")).await, CANARY);
        assert_eq!(secret(&connect(server.options())).await, json);
        for (key, said) in [
            ("absent", "the secret is a JSON object without this key"),
            ("number", "the key's value is no text, or the key is there twice"),
        ] {
            let error = refusal(&connect(server.options()).with_json_key(key)).await;
            assert!(matches!(error, SecretError::Malformed { .. }), "{error:?}");
            let place = format!("the secret etl/key of AWS Secrets Manager at {}", server.url());
            assert_eq!(error.to_string(), format!("the key {key} of {place}: {said}"));
        }
    }
    let (_server, source) = answering(whole(json!({"SecretString": CANARY}))).await;
    let error = refusal(&source.with_json_key("masking_key")).await;
    assert!(error.to_string().ends_with(": the secret is no JSON object"), "{error}");
}

#[tokio::test]
async fn a_secret_must_have_something_and_not_too_much() {
    for (value, empty) in [
        (json!({}), true),
        (json!({"SecretString": " \n"}), true),
        (json!({"SecretString": CANARY.repeat(MAX_SECRET_BYTES)}), false),
        (json!({"SecretBinary": STANDARD.encode(CANARY.repeat(MAX_SECRET_BYTES))}), false),
    ] {
        let (_server, source) = answering(whole(value)).await;
        let place = source.describe();
        let expected = if empty { SecretError::Empty { place } } else { SecretError::TooLarge { place } };
        assert_eq!(refusal(&source).await, expected);
    }
    let large = format!("{{\"key\": \"{}\"}}", "x".repeat(MAX_SECRET_BYTES));
    let (_server, source) = answering(whole(json!({"SecretString": large}))).await;
    let error = refusal(&source.with_json_key("key")).await;
    assert!(matches!(error, SecretError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn the_services_errors_are_told_in_our_words() {
    let (error, text) = said(400, "ResourceNotFoundException").await;
    assert!(matches!(error, SecretError::NotFound { .. }), "{error:?}");
    assert_eq!(text, "does not exist, or has no value yet; check its name, the region and the account");
    let (error, text) = said(400, "AccessDeniedException").await;
    assert!(matches!(error, SecretError::Denied { .. }), "{error:?}");
    assert_eq!(text, "access denied; allow secretsmanager:GetSecretValue on it, and kms:Decrypt on its key");
    let (error, text) = said(400, "DecryptionFailure").await;
    assert!(matches!(error, SecretError::Unusable { .. }), "{error:?}");
    assert_eq!(text, "Secrets Manager cannot decrypt it; check the state of its KMS key");
    let (error, text) = said(400, "InvalidRequestException").await;
    assert!(matches!(error, SecretError::Unusable { .. }), "{error:?}");
    assert_eq!(text, "cannot be read in its present state; it may be marked for deletion");
    let (error, text) = said(400, "InvalidParameterException").await;
    assert!(matches!(error, SecretError::Misconfigured { .. }), "{error:?}");
    assert_eq!(text, "this is no name or ARN of a secret");
    let (error, text) = said(400, "UnrecognizedClientException").await;
    assert!(matches!(error, SecretError::Denied { .. }), "{error:?}");
    assert_eq!(text, "the AWS credentials are refused, or have expired");
}

#[tokio::test]
async fn what_passes_by_itself_is_asked_again() {
    let server = Scripted::start(|before| match before {
        0 => Answer::Error(400, "ThrottlingException"),
        1 => Answer::Error(500, "InternalServiceError"),
        2 => Answer::Html(503),
        3 => Answer::Cut,
        _ => Answer::Ok(whole(json!({"SecretString": CANARY}))),
    });
    let server = server.await;
    assert_eq!(secret(&connect(server.options())).await, CANARY);
    assert_eq!(server.calls().len(), 5);
}

#[tokio::test]
async fn what_does_not_pass_is_unavailable() {
    for (answer, expected) in [
        (500, "the service failed (InternalServiceError, HTTP 500, request 00000000-feed)"),
        (400, "throttled (ThrottlingException, HTTP 400, request 00000000-feed)"),
        (503, "the service failed (HTTP 503, request 00000000-feed)"),
    ] {
        let server = Scripted::start(move |_| match answer {
            500 => Answer::Error(500, "InternalServiceError"),
            400 => Answer::Error(400, "ThrottlingException"),
            _ => Answer::Html(503),
        });
        let server = server.await;
        let error = refusal(&connect(server.options())).await;
        assert!(error.is_retryable(), "{error:?}");
        assert!(error.to_string().ends_with(&format!(": {expected}")), "{error}");
        assert_eq!(server.calls().len(), 5);
    }
}

#[tokio::test]
async fn what_is_not_reached_or_unreadable_is_unavailable() {
    let error = refusal(&connect(nowhere().await)).await;
    assert!(error.is_retryable() && error.to_string().ends_with(": connection refused"), "{error}");
    for status in [200, 404] {
        let server = Scripted::start(move |_| Answer::Html(status)).await;
        let error = refusal(&connect(server.options())).await;
        assert_eq!(error.is_retryable(), status == 200, "{error}");
    }
}

/// With a clock that jumps to the next timer whenever nothing else is to do.
#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_given_up() {
    let server = Scripted::start(|_| Answer::Silence).await;
    let error = refusal(&connect(server.options())).await;
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_refused_before_anything_is_asked() {
    let options = |url: &str| AwsOptions { endpoint_url: Some(url.to_owned()), ..AwsOptions::default() };
    for (id, options) in [
        ("hunter2 hunter2", AwsOptions::default()),
        ("", AwsOptions::default()),
        ("etl/key", options("http://etl:hunter2@localhost")),
        ("etl/key", options("hunter2")),
        ("etl/key", AwsOptions { region: Some("hunter2 ".to_owned()), endpoint_url: None }),
    ] {
        let error = SecretsManagerSecret::connect(id, options).await.unwrap_err();
        assert!(matches!(error, SecretError::Misconfigured { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    }
}

#[tokio::test]
async fn an_arn_states_the_region() {
    let arn = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:etl/key-a1b2c3";
    let source = SecretsManagerSecret::connect_with(arn, AwsOptions::default(), &sdk()).unwrap();
    assert_eq!(source.describe(), format!("the secret {arn} of AWS Secrets Manager in ap-south-1"));
}
