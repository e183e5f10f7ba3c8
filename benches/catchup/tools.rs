//! Tools that move the same bytes without verifying them: a ready store's folder as an archive.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::measure::{Samples, sample_children};

/// What all of it needs.
const TOOLS: [&str; 5] = ["curl", "tar", "lz4", "sha256sum", "sync"];

/// An archive of a store, plain and packed, on a web server.
pub(crate) struct Tools {
    folder: TempDir,
    server: SocketAddr,
    pub(crate) plain: Samples,
    pub(crate) checked: Samples,
}

impl Tools {
    /// None, with a word, where a tool is missing. `bytes` is the size of the state that the store
    /// holds.
    pub(crate) fn new(store: &Path, bytes: u64) -> Option<Self> {
        if let Some(missing) = TOOLS.iter().find(|tool| !is_there(tool)) {
            println!("no {missing} here: nothing is compared with curl and tar");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = "tar c -C \"$1\" . > store.tar && lz4 -q -1 store.tar store.tar.lz4";
        run(folder.path(), script, &store.to_string_lossy());
        let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
        let share = |name| size(name) as f64 / bytes as f64;
        println!(
            "the store's archive: {:.2} of the state's size, packed {:.2}",
            share("store.tar"),
            share("store.tar.lz4")
        );
        let server = serve(folder.path());
        let plain = Samples::new("curl | tar x", bytes);
        let checked = Samples::new("curl | tee sha256sum | lz4 -d | tar x", bytes);
        Some(Self { folder, server, plain, checked })
    }

    /// Each once, into a new folder, until it is on the disk.
    pub(crate) fn round(&mut self) {
        let plain = "curl -sSf \"$1/store.tar\" | tar x -C to && sync -f to";
        let checked = "mkfifo copy && { sha256sum < copy > sum & } && \
             curl -sSf \"$1/store.tar.lz4\" | tee copy | lz4 -q -d | tar x -C to && wait && sync -f to";
        for (script, samples) in [(plain, &mut self.plain), (checked, &mut self.checked)] {
            let place = tempfile::tempdir_in(self.folder.path()).expect("a temporary folder");
            fs::create_dir(place.path().join("to")).expect("a folder");
            let url = format!("http://{}", self.server);
            samples.add(sample_children(|| run(place.path(), script, &url)).1);
        }
    }

    /// How fast a newcomer is beside them.
    pub(crate) fn print(&self, newcomer: &Samples) {
        for samples in [&self.plain, &self.checked] {
            samples.print();
            let (name, best) = (samples.name(), newcomer.best_rate() / samples.best_rate());
            let median = newcomer.median_rate() / samples.median_rate();
            println!(
                "node to node is {best:.2} times as fast as {name}, {median:.2} in the median"
            );
        }
    }
}

fn is_there(tool: &str) -> bool {
    let silent = || Stdio::null();
    let asked = Command::new(tool).arg("--version").stdout(silent()).stderr(silent()).status();
    asked.is_ok_and(|status| status.success())
}

fn run(folder: &Path, script: &str, argument: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-ec", script, "sh", argument]).current_dir(folder).stdin(Stdio::null());
    assert!(shell.status().expect("a shell").success(), "{script}");
}

/// A web server that does nothing but send the files of a folder, which the system copies by itself.
fn serve(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever goes away early is told of by its exit code.
            let _ = send(&folder, stream);
        }
    });
    address
}

fn send(folder: &Path, mut stream: TcpStream) -> io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let first = request.next().unwrap_or_else(|| Ok(String::new()))?;
    let name = first.split([' ', '/']).nth(2).unwrap_or_default();
    // The rest of the request, up to its empty line.
    for line in request.map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
    }
    let mut file = File::open(folder.join(name))?;
    let bytes = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream)?;
    Ok(())
}
