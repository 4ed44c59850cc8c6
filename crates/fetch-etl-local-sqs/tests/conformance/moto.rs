//! moto's server, where Python has it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::PATIENCE;

pub(super) struct Server {
    pub(super) endpoint: String,
    /// Ends with this.
    _process: Child,
}

impl Server {
    /// Starts it on a free port. If it is not there, the reason.
    pub(super) async fn start() -> Result<Self, String> {
        let import = Command::new("python3").args(["-c", "import moto.server"]).output().await;
        let import = import.map_err(|error| format!("python3 does not start: {error}"))?;
        if !import.status.success() {
            return Err("Python has no moto with its server (pip install 'moto[server]')".to_owned());
        }
        let mut process = Command::new("python3")
            .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        // From here on it is there, so that not to start is a failure and no reason to leave it out.
        let endpoint = timeout(PATIENCE, async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                if let Some((_, address)) = line.split_once("Running on ") {
                    return address.trim().to_owned();
                }
            }
        });
        let endpoint = endpoint.await.unwrap();
        // It logs every call: a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { endpoint, _process: process })
    }
}
