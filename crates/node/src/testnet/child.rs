use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::TestnetError;
use super::plan::Member;

/// How long a node may take to end once it is told to.
const STOP: Duration = Duration::from_secs(40);

/// A node's process. It is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) member: Member,
    pub(crate) ready: Ready,
    child: Child,
}

/// What a node says once it takes part.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) addresses: Vec<String>,
    pub(crate) http: SocketAddr,
}

impl Process {
    /// Starts a node that knows these peers, and waits until it takes part. What it records, if it does,
    /// goes to a file of this process.
    ///
    /// *Errors:* [`TestnetError::Process`], [`TestnetError::NotStarted`].
    pub(crate) async fn start(
        member: &Member,
        peers: &[String],
        records: bool,
    ) -> Result<Self, TestnetError> {
        let failed = |error| TestnetError::Process { name: member.name.clone(), error };
        let log = File::options().create(true).append(true).open(member.log()).map_err(failed)?;
        let peers = toml::Value::from(peers.to_vec());
        let record = records.then(|| [OsString::from("--record"), member.next_record().into()]);
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["node", "--config"])
            .arg(member.config())
            .args(["--set", &format!("network.peers={peers}")])
            .args(record.into_iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let not_started =
            || TestnetError::NotStarted { name: member.name.clone(), log: member.log() };
        let id = child.id().map(|id| id.to_string()).unwrap_or_default();
        fs::write(member.pid(), id).map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(not_started)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await.map_err(failed)?;
        let ready = serde_json::from_str(&line).map_err(|_| not_started())?;
        Ok(Self { member: member.clone(), ready, child })
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Tells the node to stop and waits for it; whether it ended as it should.
    pub(crate) async fn stop(mut self) -> bool {
        // Not in range only once it has been waited for.
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // One that is stopped would not hear of it.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            let _ = kill(Pid::from_raw(id), Signal::SIGCONT);
        }
        match timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) => status.success(),
            _ => false,
        }
    }
}
