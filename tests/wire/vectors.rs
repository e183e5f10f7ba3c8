use std::fs;

use ketch_trie::{PackedPart, Packing};
use ketch_types::{ChainId, Epoch, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{
    FrameFault, FrameHeader, FrameKind, OutlineEnd, PartFrame, RuleError, WireFault, names,
    part_frame_header,
};
use serde_json::Value;

use super::message::{Message, all, bytes, hash, number, part_set, parts_end, refusal, small};
use super::reading::{OutputsRead, PartsRead, read_outline, read_outputs, read_parts};

/// One list of the vectors.
fn vectors(list: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/wire.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    document[list].as_array().unwrap().clone()
}

/// A vector's bytes.
fn encoded(case: &Value) -> Vec<u8> {
    let mut encoded = bytes(&case["encoded"]);
    if let Some(repeat) = case.get("repeat") {
        encoded.extend(bytes(&repeat[0]).repeat(number(&repeat[1]) as usize));
    }
    encoded
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

#[test]
fn every_name_of_the_vectors_is_ours() {
    for case in vectors("names") {
        let chain = ChainId::new(hash(&case["chain"]));
        let shard = || ShardId(small(&case["shard"]));
        let ours = match text(&case, "kind") {
            "control" => names::control_protocol(&chain),
            "outline" => names::outline_protocol(&chain),
            "parts" => names::parts_protocol(&chain),
            "outputs" => names::outputs_protocol(&chain),
            "kad" => names::kad_protocol(&chain),
            "heads" => names::heads_topic(&chain),
            "held" => names::held_topic(&chain, shard()),
            "provider_key" => {
                let epoch = Epoch(number(&case["epoch"]));
                hex::encode(names::provider_key(&chain, shard(), epoch))
            }
            kind => panic!("unknown kind {kind}"),
        };
        assert_eq!(ours, text(&case, "name"));
    }
}

#[test]
fn every_message_of_the_vectors_is_encoded_and_decoded_as_they_say() {
    for case in vectors("messages") {
        let kind = text(&case, "kind");
        let message = Message::of_fields(kind, &case["fields"]);
        assert_eq!(hex::encode(message.encode()), text(&case, "encoded"), "{message:?}");
        assert_eq!(Message::decode(kind, &encoded(&case)), Ok(message));
    }
}

#[test]
fn every_other_encoding_of_the_vectors_decodes_to_the_same_message() {
    for case in vectors("other_encodings") {
        let kind = text(&case, "kind");
        let message = Message::of_fields(kind, &case["fields"]);
        assert_eq!(Message::decode(kind, &encoded(&case)), Ok(message), "{}", case["name"]);
    }
}

#[test]
fn every_message_that_the_vectors_refuse_is_refused_for_its_reason() {
    for case in vectors("refused_messages") {
        let (kind, name) = (text(&case, "kind"), text(&case, "name"));
        let fault = Message::decode(kind, &encoded(&case)).expect_err(name);
        let reason = match &fault {
            WireFault::TooLong(_) => "too long",
            WireFault::Malformed => "malformed",
            WireFault::Empty => "empty",
            WireFault::HashBytes(_) => "hash",
            WireFault::PartSet(_) => "bitmap",
            WireFault::Reason(_) => "reason",
            WireFault::RetryAfter(_) => "wait",
            WireFault::EndPartCount(_) => "parts of the end",
            WireFault::EndWithoutHeld => "nothing held",
            WireFault::Rule(RuleError::NoItem(_)) => "no item",
            WireFault::Rule(RuleError::TooManyItems(_)) => "too many items",
            WireFault::Rule(RuleError::ShardOrder(_)) => "shard order",
            WireFault::Rule(RuleError::EpochEndCount(_)) => "count",
            WireFault::Rule(RuleError::PartCount(_)) => "part count",
            WireFault::Rule(RuleError::NoPartWanted) => "no part wanted",
            WireFault::Rule(RuleError::Heights { .. }) => "heights",
        };
        assert_eq!(reason, text(&case, "reason"), "{kind}, {name}: {fault}");
    }
}

#[test]
fn every_frame_header_of_the_vectors_is_ours() {
    for case in vectors("frames") {
        let kind = match text(&case, "kind") {
            "end" => FrameKind::End,
            "part_raw" => FrameKind::PartRaw,
            "part_lz4" => FrameKind::PartLz4,
            "outline" => FrameKind::Outline,
            "range" => FrameKind::Range,
            "outputs" => FrameKind::Outputs,
            kind => panic!("unknown kind {kind}"),
        };
        if let Some(index) = case.get("part") {
            let packing = if kind == FrameKind::PartRaw { Packing::Raw } else { Packing::Lz4 };
            let part =
                PackedPart { packing, bytes: vec![0; number(&case["packed_bytes"]) as usize] };
            let header = part_frame_header(PartIndex(small(index)), &part).unwrap();
            assert_eq!(hex::encode(header), text(&case, "encoded"));
        } else {
            let header = FrameHeader { kind, body_bytes: small(&case["body_bytes"]) };
            assert_eq!(hex::encode(header.encode()), text(&case, "encoded"));
            assert_eq!(FrameHeader::decode(encoded(&case).try_into().unwrap()), Ok(header));
        }
    }
}

/// The parts that a vector's requester expects, and their sizes.
fn expected_parts(case: &Value) -> (PartSet, Vec<u64>) {
    let expected = &case["expected"];
    let mut wanted = PartSet::empty(small(&expected["count"]));
    let sizes = all(&expected["parts"], |part| number(&part[1]));
    for index in all(&expected["parts"], |part| PartIndex(small(&part[0]))) {
        wanted.insert(index);
    }
    (wanted, sizes)
}

/// What comes of a vector's stream, as a text that says all of it; none if it is not complete.
fn read(case: &Value, stream: &[u8]) -> Result<Option<String>, FrameFault> {
    let expected = &case["expected"];
    Ok(match text(case, "stream") {
        "parts" => {
            let (wanted, sizes) = expected_parts(case);
            read_parts(wanted, &sizes, stream)?.map(|read| format!("{read:?}"))
        }
        "outline" => {
            let (root, cut) = (StateRoot::new(hash(&expected["root"])), small(&expected["cut"]));
            read_outline(root, cut, stream)?.map(|end| outline_text(&end))
        }
        "outputs" => {
            let output_bytes = all(&expected["output_bytes"], number);
            read_outputs(&output_bytes, stream)?.map(|read| format!("{read:?}"))
        }
        stream => panic!("unknown stream {stream}"),
    })
}

fn outline_text(end: &OutlineEnd) -> String {
    match end {
        OutlineEnd::Complete(outline) => {
            format!("{} {}", hex::encode(outline.opening()), hex::encode(outline.records()))
        }
        OutlineEnd::Refused(refusal) => format!("{refusal:?}"),
    }
}

/// The same text, of what a vector says that its stream comes to.
fn outcome(case: &Value) -> String {
    let outcome = &case["outcome"];
    match text(case, "stream") {
        "parts" => {
            let parts = all(&outcome["parts"], |part| {
                let packed = bytes(&part["packed"]);
                let packing = if part["packing"] == "raw" { Packing::Raw } else { Packing::Lz4 };
                let index = PartIndex(small(&part["part"]));
                (PartFrame { index, packing, packed_bytes: packed.len() }, packed)
            });
            let missing = part_set(&outcome["missing"]).unwrap();
            format!("{:?}", PartsRead { parts, end: parts_end(outcome), missing })
        }
        "outline" => match refusal(&outcome["refusal"]) {
            Some(refusal) => format!("{refusal:?}"),
            None => format!("{} {}", text(outcome, "opening"), text(outcome, "records")),
        },
        "outputs" => {
            let range = outcome["range"].as_str().map(|range| hex::decode(range).unwrap());
            let outputs = all(&outcome["outputs"], bytes);
            let refusal = refusal(&outcome["refusal"]);
            format!("{:?}", OutputsRead { range, outputs, refusal })
        }
        stream => panic!("unknown stream {stream}"),
    }
}

#[test]
fn every_answer_of_the_vectors_comes_to_what_they_say_and_to_nothing_if_cut_short() {
    for case in vectors("answers") {
        let (stream, name) = (encoded(&case), text(&case, "name"));
        assert_eq!(read(&case, &stream), Ok(Some(outcome(&case))), "{name}");
        for length in 0..stream.len() {
            assert_eq!(read(&case, &stream[..length]), Ok(None), "{name}, {length} bytes of it");
        }
    }
}

#[test]
fn every_answer_that_the_vectors_refuse_is_refused_for_its_reason_at_its_last_byte() {
    for case in vectors("refused_answers") {
        let (stream, name) = (encoded(&case), text(&case, "name"));
        let fault = read(&case, &stream).expect_err(name);
        let reason = match &fault {
            FrameFault::UnknownKind(_) => "unknown kind",
            FrameFault::OtherStream(_) => "other stream",
            FrameFault::OutOfOrder(_) => "out of order",
            FrameFault::AfterEnd => "after end",
            FrameFault::EndsEarly => "ends early",
            FrameFault::BodyBytes { .. } => "body bytes",
            FrameFault::NotAsked(_) => "not asked",
            FrameFault::SentTwice(_) => "sent twice",
            FrameFault::PartBytes { .. } => "part bytes",
            FrameFault::End(_) => "end",
            FrameFault::Outline(_) => "outline",
        };
        assert_eq!(reason, text(&case, "reason"), "{name}: {fault}");
        assert!(read(&case, &stream[..stream.len() - 1]).is_ok(), "{name}");
    }
}
