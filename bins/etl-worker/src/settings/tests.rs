use std::fs;

use fetch_etl_mask::Method;

use super::*;

const QUEUE: (&str, &str) = ("ETL_SOURCE__QUEUE_NAME", "logins");
const DATABASE: (&str, &str) = ("ETL_SINK__DATABASE_URL", "sqlite://logins.sqlite");

fn read(file: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("etl.toml");
    fs::write(&path, file).unwrap();
    let inputs = Inputs {
        file: Some(path.clone()),
        env: env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let settings = Loaded::read(&inputs).and_then(|loaded| loaded.settings());
    settings.map_err(|error| error.to_string().replace(&path.display().to_string(), "etl.toml"))
}

fn error(file: &str, env: &[(&str, &str)], flags: &[&str]) -> String {
    read(file, env, flags).map(|_| "no error".to_owned()).unwrap_or_else(|text| text)
}

/// The error of a file whose other keys are in order.
fn error_of(file: &str) -> String {
    error(file, &[QUEUE, DATABASE], &[])
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_path_expectation_and_place() {
    for (file, said) in [
        (
            "[source]\nwait_time_s = 25\n",
            "source.wait_time_s: expected a whole number from 0 to 20 seconds (SQS refuses a long poll of more than 20 \
             seconds), found 25 [etl.toml line 2]",
        ),
        (
            "[source]\n\nwait_time_s = 20.0\n",
            "source.wait_time_s: expected a whole number from 0 to 20 seconds (SQS refuses a long poll of more than 20 \
             seconds), found a number with a fraction [etl.toml line 3]",
        ),
        (
            "[pipeline]\nwriters = \"2\"\n",
            "pipeline.writers: expected a whole number from 1 to 256, found \"2\" [etl.toml line 2]",
        ),
        (
            "[pipeline]\nwriter = 2\n",
            "pipeline.writer: unknown key; the nearest known one is pipeline.writers [etl.toml line 2]",
        ),
        (
            "queue_url = \"http://localhost/q\"\n",
            "queue_url: unknown key; the nearest known one is source.queue_url [etl.toml line 1]",
        ),
        ("source = 3\n", "source: expected a table, [source], found a value [etl.toml line 1]"),
        (
            "[sink.migrate]\nnow = true\n",
            "sink.migrate: expected true or false, found a table [etl.toml line 1]",
        ),
        ("[source]\nkind = \"kafka\"\n", "source.kind: expected \"sqs\", found \"kafka\" [etl.toml line 2]"),
        (
            "[masking]\nmethod = \"md5\"\n",
            "masking.method: expected one of \"hmac-sha512\", \"sha512\", \"drop\", \"redact\", \"ip-prefix\", \"partial\", found \"md5\" [etl.toml line 2]",
        ),
        (
            "[masking]\nmethod = \"hmac-sha512\"\n",
            "masking.key_file: missing, and so is masking.key; expected one of the two: a file that holds the masking key, or, \
             after a rotation, a line ID:KEY for each (etl-admin keygen master) (in the environment: ETL_MASKING__KEY_FILE)",
        ),
        (
            "[masking]\nkey_file = \"/no/such/key\"\n",
            "masking.key_file: cannot use the file /no/such/key: there is no such file [etl.toml line 2]",
        ),
        (
            "[source]\nendpoint_url = \"localhost:9324\"\n",
            "source.endpoint_url: expected an address, http://… or https://…, found \"localhost:9324\" [etl.toml line 2]",
        ),
        (
            "[source]\nregion = \" \"\n",
            "source.region: expected text, not empty, found an empty text [etl.toml line 2]",
        ),
        (
            "[telemetry]\nlisten = \"localhost:9600\"\n",
            "telemetry.listen: expected an IP address and a port, such as 127.0.0.1:9600 or [::]:9600, found \"localhost:9600\" \
             [etl.toml line 2]",
        ),
    ] {
        assert_eq!(error_of(file), said);
    }
}

#[test]
fn everything_is_said_at_once() {
    let said =
        error("[source]\nwait_time_s = 25\nregoin = \"x\"\n", &[("ETL_PIPELINE__WRITERS", "many")], &[]);
    assert_eq!(
        said,
        "the configuration has 5 problems\n  \
         source.regoin: unknown key; the nearest known one is source.region [etl.toml line 3]\n  \
         source.wait_time_s: expected a whole number from 0 to 20 seconds (SQS refuses a long poll of more than 20 \
         seconds), found 25 [etl.toml line 2]\n  \
         pipeline.writers: expected a whole number from 1 to 256, found \"many\" [environment variable \
         ETL_PIPELINE__WRITERS]\n  \
         source.queue_url: missing, and so is source.queue_name; expected one of the two: the queue's URL (in the \
         environment: ETL_SOURCE__QUEUE_URL)\n  \
         sink.database_url: missing, and so is sink.database_url_file; expected one of the two: \
         postgres://user:password@host:port/database or sqlite://file (in the environment: ETL_SINK__DATABASE_URL)"
    );
}

#[test]
fn an_unknown_variable_is_told_its_right_name() {
    assert_eq!(
        error("", &[QUEUE, DATABASE, ("ETL_SOURCE_REGION", "eu-west-1")], &[]),
        "source_region: unknown key; the nearest known one is source.region (ETL_SOURCE__REGION) [environment variable \
         ETL_SOURCE_REGION]"
    );
}

#[test]
fn a_missing_file_and_broken_toml_are_said_alone() {
    let inputs = Inputs { file: Some("no/such/etl.toml".into()), ..Inputs::default() };
    let said = Loaded::read(&inputs).unwrap_err().to_string();
    assert_eq!(said, "no/such/etl.toml: cannot read the configuration file: there is no such file");

    let said = error("[source]\nqueue_name = \n", &[], &[]);
    assert!(said.starts_with("etl.toml: not valid TOML: ") && said.ends_with("[etl.toml line 2]"), "{said}");
}

#[test]
fn one_of_two_is_enough_and_both_are_too_many() {
    assert_eq!(
        error("[source]\nqueue_url = \"http://localhost:9324/000000000000/q\"\n", &[QUEUE, DATABASE], &[]),
        "source.queue_url: source.queue_name [environment variable ETL_SOURCE__QUEUE_NAME] is set as well; set one of \
         the two [etl.toml line 2]"
    );
    assert_eq!(
        error_of("[masking]\nkey = \"c2VjcmV0\"\nkey_file = \"/run/secrets/key\"\n"),
        "masking.key: masking.key_file [etl.toml line 3] is set as well; set one of the two [etl.toml line 2]"
    );
    assert_eq!(
        error_of("[masking]\nkey = \"c2VjcmV0\"\nmethod = \"sha512\"\n"),
        "masking.method: sha512 uses no key, but one is set; remove the key or this method [etl.toml line 3]"
    );
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    let secret = "hunter2hunter2";
    for file in [
        format!("[masking]\nkey = \"{secret}\n"),
        format!("[masking]\nkey = {secret}\n"),
        format!("[masking]\nkey = [\"{secret}\"]\n"),
        format!("[masking]\nkey = \"{secret}\"\nkey_file = \"x\"\n"),
        format!("[sink]\ndatabase_url = \"mysql://etl:{secret}@db/logins\"\n"),
        format!("[sink]\ndatabase_url = \"{secret}\"\n"),
        format!("[source]\nendpoint_url = \"htp://etl:{secret}@db/logins\"\n"),
    ] {
        let said = error(&file, &[QUEUE], &[]);
        assert_ne!(said, "no error", "{file}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = error("", &[QUEUE, DATABASE], &[&format!("masking.key={secret}")]);
    assert!(said.contains("can be read by everybody") && !said.contains(secret), "{said}");

    let file = format!(
        "[masking]\nkey = \"{secret}\"\n[sink]\ndatabase_url = \"postgres://etl:{secret}@db/logins\"\n"
    );
    let settings = read(&file, &[QUEUE], &[]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
}

#[test]
fn later_layers_win() {
    let file = "[pipeline]\nwriters = 3\nmax_batch_rows = 30\nmax_in_flight = 300\n";
    let env =
        [QUEUE, DATABASE, ("ETL_PIPELINE__MAX_BATCH_ROWS", "40"), ("ETL_PIPELINE__MAX_IN_FLIGHT", "400")];
    let settings = read(file, &env, &["pipeline.max_in_flight=500"]).unwrap();
    let pipeline = settings.pipeline;
    assert_eq!((pipeline.writers, pipeline.max_batch_rows, pipeline.max_in_flight), (3, 40, 500));
}

#[test]
fn variables_are_read_in_their_keys_type() {
    let env = [
        ("ETL_SOURCE__QUEUE_NAME", "0123"),
        ("ETL_SINK__MIGRATE", "false"),
        ("ETL_SOURCE__REGION", ""),
        DATABASE,
    ];
    let settings = read("", &env, &[]).unwrap();
    assert_eq!(settings.source.queue, QueueRef::Name("0123".to_owned()), "a name of digits stays a name");
    assert!(!settings.sink.migrate);
    assert_eq!(settings.source.region, None, "an empty variable is not set");

    let said = error("", &[QUEUE, DATABASE, ("ETL_SINK__MIGRATE", "yes")], &[]);
    assert!(said.contains("expected true or false, found \"yes\""), "{said}");
    let said = error("", &[QUEUE, DATABASE, ("ETL_PIPELINE__WRITERS", "2 ")], &[]);
    assert!(said.contains("expected a whole number"), "{said}");
}

#[test]
fn the_transport_that_is_named_is_what_the_source_is_told() {
    use fetch_etl_sqs::Transport;
    for (file, transport) in [
        ("", Transport::Lean),
        ("[source]\ntransport = \"lean\"\n", Transport::Lean),
        ("[source]\ntransport = \"sdk\"\n", Transport::Sdk),
    ] {
        let settings = read(file, &[QUEUE, DATABASE], &[]).unwrap();
        assert_eq!(crate::queue::config(&settings.source).transport, transport, "{file}");
    }
    let said = error_of("[source]\ntransport = \"bare\"\n");
    assert_eq!(said, "source.transport: expected one of \"lean\", \"sdk\", found \"bare\" [etl.toml line 2]");
}

#[test]
fn database_url_fills_the_gap_only() {
    let ambient = ("DATABASE_URL", "sqlite://ambient.sqlite");
    let url =
        |file: &str, env: &[(&str, &str)]| read(file, env, &[]).unwrap().sink.database.expose().to_owned();
    assert_eq!(url("", &[QUEUE, ambient]), "sqlite://ambient.sqlite");
    assert_eq!(url("", &[QUEUE, ambient, DATABASE]), "sqlite://logins.sqlite");

    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("url");
    fs::write(&secret, "sqlite://from-file.sqlite\n").unwrap();
    let file = format!("[sink]\ndatabase_url_file = {:?}\n", secret.display().to_string());
    assert_eq!(url(&file, &[QUEUE, ambient]), "sqlite://from-file.sqlite");
}

#[test]
fn a_key_makes_the_keyed_method_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, "c2VjcmV0\n").unwrap();
    let settings =
        read("", &[QUEUE, DATABASE, ("ETL_MASKING__KEY_FILE", path.to_str().unwrap())], &[]).unwrap();
    assert!(matches!(&settings.masking.key, Some(KeyPlace::File(_, key)) if key.expose() == "c2VjcmV0"));
    assert_eq!(settings.masking.method, Method::HmacSha512);
    let plain = read("", &[QUEUE, DATABASE], &[]).unwrap().masking;
    assert!(plain.method == Method::Sha512 && plain.key.is_none());
}

#[test]
fn the_sink_alone_is_judged_without_a_queue() {
    let inputs =
        Inputs { env: vec![("DATABASE_URL".into(), "sqlite://x.sqlite".into())], ..Inputs::default() };
    let loaded = Loaded::read(&inputs).unwrap();
    assert_eq!(loaded.sink().unwrap().database.kind(), DatabaseKind::Sqlite);
    assert!(loaded.settings().unwrap_err().to_string().starts_with("source.queue_url: missing"));
}

const EXAMPLE: &str = include_str!("../../../../config/etl.example.toml");

#[test]
fn the_example_holds_every_key_with_its_default() {
    let set = toml::from_str::<toml::Table>(EXAMPLE).unwrap();
    for key in keys::KEYS {
        let (section, name) = key.path.rsplit_once('.').unwrap();
        let table = section.split('.').try_fold(&set, |table, name| table.get(name)?.as_table());
        let value = table.and_then(|table| table.get(name));
        let default = match key.default {
            keys::DefaultValue::Text(text) => Some(toml::Value::from(text)),
            keys::DefaultValue::Integer(number) => Some(number.into()),
            keys::DefaultValue::Bool(value) => Some(value.into()),
            keys::DefaultValue::Unset(_) => None,
        };
        assert_eq!(value, default.as_ref(), "{}", key.path);
        let text = EXAMPLE.split_once(&format!("[{section}]\n")).unwrap().1;
        let text = text.split("\n[").next().unwrap();
        let comment = if default.is_some() { "" } else { "# " };
        let line = format!("\n{comment}{name} = ");
        assert_eq!(text.matches(&line).count(), 1, "{}", key.path);
    }
}

#[test]
fn the_example_parses_as_it_is_and_with_every_key_set() {
    read(EXAMPLE, &[QUEUE, DATABASE], &[]).unwrap();

    let is_key = |line: &str| {
        keys::KEYS.iter().any(|key| line.starts_with(&format!("{} = ", key.path.rsplit_once('.').unwrap().1)))
    };
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => rest.replace("key = \"\"", "key = \"c2VjcmV0\""),
        _ => line.to_owned(),
    };
    let all = EXAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let said = error(&all, &[], &[]);
    // Only what excludes each other is left to complain about: every name and every value is right.
    let complaints: Vec<_> = said.lines().skip(1).collect();
    assert_eq!(complaints.len(), 5, "{said}");
    assert!(complaints.iter().all(|line| line.contains("is set as well")), "{said}");
}

#[test]
fn check_shows_every_key_and_no_secret() {
    let inputs = Inputs {
        env: vec![
            ("ETL_QUARANTINE__RECIPIENT".into(), "fetch-etl-private-v1:x25519:hunter2".into()),
            ("ETL_SINK__DATABASE_URL".into(), "postgres://etl:hunter2@db/logins".into()),
            ("ETL_MASKING__KEY".into(), "hunter2".into()),
        ],
        ..Inputs::default()
    };
    let shown = show(&Loaded::read(&inputs).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("database_url = \"postgres://etl:[hidden]@db/logins\""), "{shown}");
    assert!(shown.contains("# environment variable ETL_SINK__DATABASE_URL"), "{shown}");
    for key in keys::KEYS {
        assert!(shown.contains(&format!("{} =", key.path.split_once('.').unwrap().1)), "{}", key.path);
    }
    toml::from_str::<toml::Table>(&shown).unwrap();
}
