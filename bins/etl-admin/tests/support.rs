//! A worker's database with rejected messages in it, and the binary to work on them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Summary};
use fetch_etl_core::{
    Decoded, EventSchema, KeyId, Masker, Pii, Reject, RejectReason, Sink, UnixMillis, Vault,
};
use fetch_etl_mask::{HmacSha512Masker, MasterKey};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_seal::{EnvelopeSealer, KeyPair, Purpose, Recipient, VaultSealer};
use fetch_etl_testing::postgres::TestDatabase;
use fetch_etl_testing::{InMemorySource, Outgoing};
use sqlx::{AssertSqlSafe, PgConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up. Generous: two cores may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Personal values of every test's messages: none of them may show up where it does not belong.
pub(crate) const VALUES: [&str; 3] = ["203.0.113.77", "593-47-5928", "u-secret"];

pub(crate) const MASKING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A constraint that refuses the rows of one locale.
const REFUSAL: &str = "ALTER TABLE user_logins ADD CONSTRAINT refusal CHECK (locale <> 'XX')";

/// A message for the worker's queue.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) body: String,
    outgoing: Outgoing,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The binary, in an environment of which nothing is known to it but what the test says.
pub(crate) fn admin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etl-admin"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What it would log at most: none of it may hold a value.
    command.env("RUST_LOG", "trace");
    command
}

/// Runs to the end, which must come by itself, and without a value on stderr.
pub(crate) fn finish(command: &mut Command) -> Finished {
    wait(command.spawn().unwrap())
}

pub(crate) fn wait(mut child: Child) -> Finished {
    let (sender, ended) = channel();
    let killed = {
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let errors = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
            let _ = sender.send((std::io::read_to_string(stdout).unwrap(), errors.join().unwrap()));
        });
        let read = ended.recv_timeout(PATIENCE);
        if read.is_err() {
            child.kill().unwrap();
        }
        read
    };
    let code = child.wait().unwrap().code();
    let (stdout, stderr) = killed.unwrap_or_else(|_| panic!("it did not end by itself"));
    for value in VALUES {
        assert!(!stderr.contains(value), "{value} in: {stderr}");
    }
    Finished { code, stdout, stderr }
}

impl Finished {
    /// What went to stdout, of a run that ended with this code.
    pub(crate) fn expect(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stdout
    }

    /// A command line that clap refuses, naming this.
    pub(crate) fn expect_usage(self, words: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stderr.contains(words), "{self:?}");
    }

    /// What a run that failed had to say.
    pub(crate) fn expect_error(self, code: i32, words: &str) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        let line = self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(line.contains(words), "{self:?}");
        self.stderr
    }
}

/// A database whose worker seals rejected messages to a key that the operator has in a file.
pub(crate) struct Bench {
    pub(crate) database: TestDatabase,
    pub(crate) outside: PgConnection,
    pub(crate) directory: TempDir,
    pub(crate) pair: KeyPair,
    sink: Arc<PostgresSink>,
    queue: Arc<InMemorySource>,
}

impl Bench {
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::create().await;
        let sink = PostgresSink::connect(PostgresSinkConfig::new(database.url())).await.unwrap();
        sink.migrate().await.unwrap();
        let bench = Self {
            outside: database.connect().await,
            sink: Arc::new(sink),
            queue: Arc::default(),
            database,
            directory: tempfile::tempdir().unwrap(),
            pair: KeyPair::generate().unwrap(),
        };
        bench.write_key("recipient.key", &bench.pair, 0o600);
        let config = format!(
            "[masking]\nkey = \"{MASKING_KEY}\"\n[sink]\ndatabase_url = \"{}\"\n",
            bench.database.url()
        );
        fs::write(bench.path("etl.toml"), config).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write_key(&self, name: &str, pair: &KeyPair, mode: u32) {
        let path = self.path(name);
        fs::write(&path, pair.to_private_text().unwrap().as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A configuration with a newer key behind the worker's, for a rotation.
    pub(crate) fn use_two_keys(&self) {
        let ring = format!("1:{MASKING_KEY}\n2:{}\n", MASKING_KEY.replace("AAEC", "AAED"));
        fs::write(self.path("ring.key"), ring).unwrap();
        let url = self.database.url();
        let config = format!("[masking]\nkey_file = \"ring.key\"\n[sink]\ndatabase_url = \"{url}\"\n");
        fs::write(self.path("etl.toml"), config).unwrap();
    }

    /// `etl-admin quarantine …` with the worker's configuration.
    pub(crate) fn command(&self, args: &str) -> Command {
        self.any(&format!("quarantine {args}"))
    }

    /// `etl-admin …` with the worker's configuration.
    pub(crate) fn any(&self, args: &str) -> Command {
        let mut command = admin(&[]);
        command.args(args.split(' ')).args(["--config", "etl.toml"]).current_dir(self.directory.path());
        command
    }

    /// The same, to its end.
    pub(crate) fn run(&self, args: &str) -> Finished {
        finish(&mut self.any(args))
    }

    /// The same for a command that wants to be told why, which is one argument.
    pub(crate) fn with_reason(&self, args: &str, reason: &str) -> Command {
        let mut command = self.any(args);
        command.args(["--reason", reason]);
        command
    }

    pub(crate) fn quarantine(&self, args: &str) -> Finished {
        finish(&mut self.command(args))
    }

    pub(crate) fn replay(&self, args: &str) -> Finished {
        self.quarantine(&format!("replay --private-key recipient.key {args}"))
    }

    /// A worker's run over these messages; whether it seals is up to the test.
    pub(crate) async fn work(&self, messages: Vec<Message>, seals: bool) -> Summary {
        let recipient = seals.then(|| self.pair.recipient());
        work(self.sink.clone(), self.queue.clone(), LoginSchema, messages, recipient).await
    }

    /// A worker's run over these messages, with a vault to which the operator has the key, and a quarantine.
    pub(crate) async fn work_with_vault(&self, messages: Vec<Message>) -> Summary {
        let sealer = VaultSealer::new(self.pair.recipient().clone(), 1_000).with_fields(["ip", "device_id"]);
        let recipient = Some(self.pair.recipient());
        let (sink, queue) = (self.sink.clone(), self.queue.clone());
        work_keeping(sink, queue, LoginSchema, messages, recipient, Some(Arc::new(sealer))).await
    }

    /// Quarantines these messages, sealed, as a worker of another version might that knows more rules.
    pub(crate) async fn reject_by_schema(&self, messages: Vec<Message>) {
        let count = messages.len() as u64;
        let recipient = Some(self.pair.recipient());
        let summary = work(self.sink.clone(), self.queue.clone(), Stricter, messages, recipient).await;
        assert_eq!((summary.quarantined, summary.inserted), (count, 0), "{summary}");
    }

    /// Quarantines these messages, sealed, because the database refuses their rows, and removes the cause.
    pub(crate) async fn refuse(&mut self, messages: Vec<Message>) {
        let count = messages.len() as u64;
        self.execute(REFUSAL).await;
        let summary = self.work(messages, true).await;
        assert_eq!((summary.quarantined, summary.inserted), (count, 0), "{summary}");
        self.execute("ALTER TABLE user_logins DROP CONSTRAINT refusal").await;
    }

    pub(crate) async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.outside).await.unwrap();
    }

    /// The only value of the only row.
    pub(crate) async fn one<T>(&mut self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.outside).await.unwrap()
    }

    /// "state:count …" of the whole quarantine.
    pub(crate) async fn states(&mut self) -> String {
        self.one(
            "SELECT coalesce(string_agg(state || ':' || n, ' ' ORDER BY state), '')
            FROM (SELECT state, count(*) AS n FROM etl.quarantine GROUP BY state) AS s",
        )
        .await
    }

    pub(crate) async fn rows(&mut self) -> i64 {
        self.one("SELECT count(*) FROM user_logins").await
    }
}

/// A worker's run until the queue is empty.
pub(crate) async fn work<S: EventSchema<Row = LoginRow> + 'static>(
    sink: Arc<dyn Sink<LoginRow>>,
    queue: Arc<InMemorySource>,
    schema: S,
    messages: Vec<Message>,
    recipient: Option<&Recipient>,
) -> Summary {
    work_keeping(sink, queue, schema, messages, recipient, None).await
}

async fn work_keeping<S: EventSchema<Row = LoginRow> + 'static>(
    sink: Arc<dyn Sink<LoginRow>>,
    queue: Arc<InMemorySource>,
    schema: S,
    messages: Vec<Message>,
    recipient: Option<&Recipient>,
    vault: Option<Arc<dyn Vault>>,
) -> Summary {
    for Message { body, outgoing } in messages {
        queue.send_with(body, outgoing);
    }
    let key = MasterKey::from_base64(MASKING_KEY).unwrap();
    let masker = HmacSha512Masker::new(&key, KeyId::new(1), "default").unwrap();
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let mut pipeline = Pipeline::new(config, queue, schema, Arc::new(masker), sink);
    if let Some(recipient) = recipient {
        let sealer = EnvelopeSealer::new(recipient.clone(), Purpose::Quarantine);
        pipeline = pipeline.with_sealer(Arc::new(sealer));
    }
    if let Some(vault) = vault {
        pipeline = pipeline.with_vault(vault);
    }
    pipeline.run(CancellationToken::new()).await.unwrap()
}

/// The schema of a version that takes no login at all.
pub(crate) struct Stricter;

impl EventSchema for Stricter {
    type Row = LoginRow;

    fn decode_and_mask(&self, _: &Pii<[u8]>, _: &dyn Masker) -> Result<Decoded<LoginRow>, Reject> {
        Err(Reject::of_field(RejectReason::WrongType, "locale"))
    }
}

/// Waits until a child says this on stderr, and reads on so that it is not held up.
pub(crate) fn await_words(child: &mut Child, words: &str) {
    let (sender, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it never said {words:?}"));
        if line.contains(words) {
            return;
        }
    }
}

/// The end of a child of whose stderr enough was read.
pub(crate) fn end_of(child: Child) -> Finished {
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::new(),
    }
}

/// A login of the locale that the constraint refuses.
pub(crate) fn refused(key: Option<&str>) -> Message {
    login("XX", key)
}

/// A login with the test's personal values.
pub(crate) fn login(locale: &str, key: Option<&str>) -> Message {
    let body = format!(
        r#"{{"user_id":"{}","app_version":"2.3.0","device_type":"ios","ip":"{}","locale":"{locale}","device_id":"{}"}}"#,
        VALUES[2], VALUES[0], VALUES[1]
    );
    Message { body, outgoing: Outgoing { key: key.map(str::to_owned), ..Outgoing::default() } }
}

/// A login of any person, under a producer's key.
pub(crate) fn login_of(user: &str, key: &str, ip: &str, device: &str) -> Message {
    let body = format!(
        r#"{{"user_id":"{user}","app_version":"2.3.0","device_type":"ios","ip":"{ip}","locale":"DE","device_id":"{device}"}}"#
    );
    Message { body, ..login("DE", Some(key)) }
}

/// A message that no schema takes.
pub(crate) fn broken() -> Message {
    let body = format!(r#"{{"user_id":"{}","ip":"{}"}}"#, VALUES[2], VALUES[0]);
    Message { body, outgoing: Outgoing::default() }
}

pub(crate) fn sent_days_ago(days: i64, message: Message) -> Message {
    let sent_at = UnixMillis::new(UnixMillis::now().get() - days * 86_400_000);
    Message { outgoing: Outgoing { sent_at: Some(sent_at), ..message.outgoing }, ..message }
}
