use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Masking, Sent, StoredRow};

/// What a message should become: user_id, device_type, masked_ip, masked_device_id, locale, app_version, app_version_text,
/// mask_key_id, all as text; `None` for a reject.
pub type ExpectedRow = Option<[Option<String>; 8]>;

/// What another implementation, in Python, says of each message.
#[derive(Debug)]
pub struct Opinion(BTreeMap<String, ExpectedRow>);

#[derive(Deserialize)]
struct Line {
    id: String,
    row: Option<[Value; 8]>,
}

/// The name of a Python 3 interpreter, where there is one.
pub fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|name| {
        let version =
            Command::new(name).args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status();
        version.is_ok_and(|status| status.success())
    })
}

impl Opinion {
    /// Asks Python; `None` where there is none.
    pub fn ask(masking: &Masking, messages: &[Sent]) -> Option<Self> {
        let python = python()?;
        let messages: Vec<_> =
            messages.iter().map(|sent| json!({"id": sent.id, "body": sent.body})).collect();
        let request = match masking {
            Masking::Sha512 => json!({"method": "sha512", "key_id": 0, "messages": messages}),
            Masking::Hmac { key_hex, domain, key_id } => json!({
                "method": "hmac-sha512", "keys_hex": [key_hex], "domain": domain, "key_id": key_id, "messages": messages,
            }),
            Masking::Chain { keys_hex, begins_plain, domain } => json!({
                "method": if *begins_plain { "sha512" } else { "hmac-sha512" }, "keys_hex": keys_hex, "domain": domain,
                "key_id": keys_hex.len(), "messages": messages,
            }),
        };
        let mut child = Command::new(python)
            .args(["-c", include_str!("opinion.py")])
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let writer = std::thread::spawn(move || stdin.write_all(request.to_string().as_bytes()));
        let output = child.wait_with_output().expect("Python ends");
        writer.join().expect("the writer does not panic").expect("Python reads its input");
        assert!(output.status.success(), "the second opinion failed");
        let text = String::from_utf8(output.stdout).expect("Python writes UTF-8");
        let lines =
            text.lines().map(|line| serde_json::from_str::<Line>(line).expect("one JSON object a line"));
        Some(Self(lines.map(|line| (line.id, line.row.map(as_text))).collect()))
    }

    /// The messages that should be rows.
    pub fn rows(&self) -> usize {
        self.0.values().flatten().count()
    }

    /// Fails unless exactly the rows that should be there are there, each column equal.
    #[track_caller]
    pub fn assert_rows(&self, stored: &[StoredRow]) {
        if let Err(difference) = self.compare(stored) {
            panic!("{difference}");
        }
    }

    /// Whether exactly the rows that should be there are there, each column equal; else the first difference.
    ///
    /// # Errors
    /// What differs, by the message's id and the column's place: a value might be one that must not be shown.
    pub fn compare(&self, stored: &[StoredRow]) -> Result<(), String> {
        let mut missing: BTreeMap<_, _> =
            self.0.iter().filter_map(|(id, row)| Some((id, row.as_ref()?))).collect();
        for row in stored {
            let id = row.message_id.as_ref().ok_or("a row has no message's id")?;
            let expected =
                missing.remove(id).ok_or_else(|| format!("{id} is stored twice, or should not be stored"))?;
            let [user_id, device_type, ip, device_id, locale, version, _date, version_text, key_id] =
                &row.columns;
            let columns = [user_id, device_type, ip, device_id, locale, version, version_text, key_id];
            if let Some(n) =
                columns.into_iter().zip(expected).position(|(column, expected)| column != expected)
            {
                return Err(format!("column {n} of {id} differs from the second opinion"));
            }
        }
        match missing.first_key_value() {
            None => Ok(()),
            Some((id, _)) => Err(format!("{} rows are missing, such as that of {id}", missing.len())),
        }
    }
}

fn as_text(row: [Value; 8]) -> [Option<String>; 8] {
    row.map(|value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}
