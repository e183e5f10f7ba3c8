//! What real nodes recorded: the coordinator says the same again, and real drivers keep to what the
//! simulation's does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ketch_coordinator::{
    Config, Coordinator, EpochStart, Input, JobEnd, JobId, Peer, PeerClass, RequestEnd, RequestId,
};
use ketch_sim::{RecordStart, RecordedTurn};
use ketch_types::{Epoch, Height, StateRoot};
use ketch_wire::Refusal;
use serde_json::Value;
use tempfile::TempDir;

use super::{S, seconds};
use crate::newcomer::Chain;

fn replay(record: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ketch"));
    command.args(["sim", "replay", "-o", "json"]).arg(record).output().unwrap()
}

/// What comes of a record, and whether it is good.
pub(crate) fn replayed(record: &Path) -> (Value, bool) {
    let output = replay(record);
    let printed = serde_json::from_slice(&output.stdout);
    let printed = printed.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (printed, output.status.success())
}

/// Why a record is refused.
fn refused(record: &Path) -> String {
    let output = replay(record);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

pub(crate) fn assert_said_again((outcome, success): &(Value, bool)) {
    assert!(*success && outcome["good"] == true, "{outcome}");
    assert_eq!((&outcome["difference"], &outcome["broken"]), (&Value::Null, &0.into()));
}

#[test]
fn a_newcomer_and_its_holder_say_again_what_they_said_and_kept_the_contract() {
    let chain = Chain::new("");
    let folder = tempfile::tempdir().unwrap();
    let records = [1, 2].map(|number| folder.path().join(format!("{number}.jsonl")));
    let holder = chain.holder.start_recorded(&[], &records[0]);
    let newcomer = chain.still.part_server(2, "");
    let taking = newcomer.start_recorded(&[&holder.address], &records[1]);
    taking.completed();
    taking.stop();
    holder.stop();
    let outcomes = records.map(|record| replayed(&record));
    outcomes.iter().for_each(assert_said_again);
    let [(holder, _), (newcomer, _)] = outcomes;
    let parts = u64::from(chain.manifest.part_count());
    // Each part once, but for those that were asked of it twice; in several windows.
    assert!(newcomer["inputs"]["PartVerified"].as_u64().unwrap() >= parts, "{newcomer}");
    assert!(newcomer["commands"]["Run Apply"].as_u64().unwrap() >= 2, "{newcomer}");
    for said in ["Request Outline", "Request Parts", "Run Open", "Run Reconcile", "Run Complete"] {
        assert!(newcomer["commands"][said].as_u64() >= Some(1), "{said} in {newcomer}");
    }
    assert!(holder["commands"]["SendPart"].as_u64().unwrap() >= parts, "{holder}");
    assert!(holder["inputs"]["AskClosed"].as_u64() >= Some(2), "{holder}");
    assert_eq!((&newcomer["cut_line"], &holder["cut_line"]), (&Value::Null, &Value::Null));
}

/// A record of a short script, made here.
struct Script {
    coordinator: Coordinator,
    at: u64,
    lines: Vec<String>,
    folder: TempDir,
}

impl Script {
    fn new() -> Self {
        let (config, at) = (Config::default(), seconds(1));
        let start = RecordStart::new(config.clone(), 7, at);
        let coordinator = Coordinator::new(config, 7, at);
        let (lines, folder) = (vec![start.to_line().unwrap()], tempfile::tempdir().unwrap());
        Self { coordinator, at: 1, lines, folder }
    }

    /// A second later the coordinator is told something, or that time has passed.
    fn turn(&mut self, input: Option<Input>) {
        self.at += 1;
        let at = seconds(self.at);
        match input.clone() {
            Some(input) => self.coordinator.handle(at, input),
            None => self.coordinator.handle_timeout(at),
        }
        let commands = std::iter::from_fn(|| self.coordinator.poll_command()).collect();
        self.lines.push(RecordedTurn { at, input, commands }.to_line().unwrap());
    }

    /// Somebody is asked what it holds, and refuses: a peer and a request on line 5.
    fn asking() -> Self {
        let mut script = Self::new();
        let root = StateRoot::new([7; 32]);
        let start = EpochStart {
            epoch: Epoch(3),
            first_height: Height(31),
            length: 10,
            cut: 4 << 20,
            tracked: vec![],
            tracked_next: vec![S],
            roots: [(S, root)].into(),
            turns: [].into(),
        };
        script.turn(Some(Input::EpochStarted(start)));
        let end = JobEnd::Opened { head: None, outputs_after: None, starts: vec![] };
        script.turn(Some(Input::JobEnded { job: JobId(0), end }));
        let (peer, class) = (Peer(1), PeerClass::Validator);
        script.turn(Some(Input::PeerConnected { peer, class, affinity: 9 }));
        let (request, end) = (RequestId(0), RequestEnd::Refused(Refusal::NotHeld));
        assert!(
            script.lines[3].contains(r#""Request":{"request":0,"peer":1,"#),
            "{:?}",
            script.lines
        );
        script.turn(Some(Input::RequestEnded { request, end }));
        script.turn(None);
        script.turn(Some(Input::PeerDisconnected { peer }));
        script
    }

    fn write(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join("record.jsonl");
        fs::write(&path, text).unwrap();
        path
    }

    fn text(&self) -> String {
        self.lines.concat()
    }
}

#[test]
fn an_input_that_is_taken_out_is_noticed_where_it_is_missed() {
    let mut script = Script::asking();
    assert_said_again(&replayed(&script.write(script.text())));
    // Without the peer nobody can be asked, and what ended was never begun.
    script.lines.remove(3);
    let (outcome, success) = replayed(&script.write(script.text()));
    assert!(!success && outcome["good"] == false);
    assert_eq!((&outcome["broken_first"][0]["line"], &outcome["turns"]), (&4.into(), &5.into()));
    let rule = outcome["broken_first"][0]["rule"].as_str().unwrap();
    assert_eq!(rule, "Something is told of a request that is not open.");
}

#[test]
fn a_command_that_is_not_the_same_is_said_with_both_and_its_line() {
    let mut script = Script::asking();
    script.lines[3] = script.lines[3].replace(r#""peer":1,"query""#, r#""peer":2,"query""#);
    let record = script.write(script.text());
    let (outcome, success) = replayed(&record);
    let difference = &outcome["difference"];
    assert!(!success && difference["line"] == 4, "{outcome}");
    let peer = |said: &str| difference[said]["Request"]["peer"].as_u64();
    assert_eq!((peer("recorded"), peer("came")), (Some(2), Some(1)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ketch"));
    let output = command.args(["sim", "replay"]).arg(&record).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("record.jsonl:4: command "), "{text}");
    assert!(text.contains("recorded  {\"Request\"") && text.contains("came      {"), "{text}");
}

#[test]
fn a_last_line_that_is_cut_short_is_the_end_and_any_other_is_refused() {
    let script = Script::asking();
    let text = script.text();
    let last = script.lines.last().unwrap().len();
    // Without its newline alone it is whole.
    let whole = replayed(&script.write(&text[..text.len() - 1]));
    assert_said_again(&whole);
    assert_eq!((&whole.0["cut_line"], &whole.0["turns"]), (&Value::Null, &6.into()));
    for left in [1, last / 2, last - 2] {
        let cut = replayed(&script.write(&text[..text.len() - last + left]));
        assert_said_again(&cut);
        assert_eq!((&cut.0["cut_line"], &cut.0["turns"]), (&7.into(), &5.into()));
    }
    let mut lines = script.lines.clone();
    let half = lines[4].len() / 2;
    lines[4].replace_range(half.., "\n");
    let log = refused(&script.write(lines.concat()));
    assert!(log.contains(&format!("record.jsonl:5:{half}: the line is cut short")), "{log}");
    // Nothing can be told of a coordinator of which nothing is known.
    let log = refused(&script.write(&script.lines[0][..40]));
    assert!(log.contains("record.jsonl:1:40: the line is cut short"), "{log}");
    assert!(refused(&script.write("")).contains("record.jsonl:1:1: the line is cut short"));
}

#[test]
fn garbage_is_refused_with_its_line_and_column() {
    let script = Script::asking();
    let start = &script.lines[0];
    let with = |line: &str| refused(&script.write(format!("{start}{line}\n")));
    for (line, place) in [
        ("garbage", "2:1: expected value"),
        (r#"{"at":1,"input":{"Rumour":{}}}"#, "2:25: unknown variant `Rumour`"),
        (r#"{"at":1,"inputs":null}"#, "2:16: unknown field `inputs`"),
        (r#"{"at":-1}"#, "2:8: invalid value"),
        (r#"{"at":1,"commands":[{"Cancel":{"request":1}}]} more"#, "2:48: trailing characters"),
        (
            r#"{"at":1,"commands":[{"End":{"ask":1,"refusal":null,"held":"0-9/9"}}]}"#,
            "2:66: part 9",
        ),
        (
            r#"{"at":1,"commands":[{"End":{"ask":1,"refusal":null,"held":"/4294967295"}}]}"#,
            "2:72: ",
        ),
    ] {
        let log = with(line);
        assert!(log.contains(&format!("record.jsonl:{place}")), "{log}");
    }
    let log = refused(&script.write([start.as_bytes(), b"{\"at\xff"].concat()));
    assert!(log.contains("record.jsonl:2:5: this is no text"), "{log}");
    let other = start.replace("\"record\":1", "\"record\":2");
    let log = refused(&script.write(other));
    assert!(
        log.contains("record.jsonl:1:11: a record of version 2; this reads version 1"),
        "{log}"
    );
    let log = refused(&script.folder.path().join("absent"));
    assert!(log.contains("absent: No such file"), "{log}");
}

#[test]
fn a_line_that_never_ends_is_not_read_to_its_end() {
    let script = Script::new();
    let record = script.write(script.text() + "[");
    // A gibibyte of nothing, which takes no room on the disk.
    fs::OpenOptions::new().write(true).open(&record).unwrap().set_len(1 << 30).unwrap();
    let log = refused(&record);
    assert!(log.contains("record.jsonl:2:") && log.contains("longer than 67108864 bytes"), "{log}");
}

#[test]
fn a_node_does_not_start_where_its_record_is_there_or_cannot_be() {
    let chain = Chain::new("");
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.jsonl");
    fs::write(&record, "kept").unwrap();
    let refused = |record: &Path| {
        let output = chain.holder.command(&[]).arg("--record").arg(record).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let log = refused(&record);
    assert!(log.contains("record.jsonl: File exists") && !log.contains("peer"), "{log}");
    assert_eq!(fs::read_to_string(&record).unwrap(), "kept");
    assert!(refused(&folder.path().join("absent/record.jsonl")).contains("No such file"));
    assert!(!chain.holder.parts().exists(), "something was started");
    let role = "role = \"sequencer\"\n";
    let end = "[devnet]\nseed = 1\nstate = { generated = \"1MiB\" }\nblock_interval = \"1s\"\n";
    let sequencer = chain.still.member(9, role, "", end);
    let unused = folder.path().join("unused");
    let output = sequencer.command(&[]).arg("--record").arg(&unused).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("a sequencer has no coordinator") && !unused.exists(), "{log}");
}

#[test]
fn time_may_pass_for_long_between_two_turns() {
    let mut script = Script::asking();
    script.at += Duration::from_secs(3_600).as_secs();
    script.turn(None);
    assert_said_again(&replayed(&script.write(script.text())));
}
