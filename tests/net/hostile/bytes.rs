//! Messages made by hand, after the page and not by the crate that implements it.

/// Frames by their number.
pub(super) const END: u8 = 0;
pub(super) const PART_RAW: u8 = 1;
pub(super) const PART_LZ4: u8 = 2;
pub(super) const OUTLINE_BYTES: u8 = 3;
pub(super) const RANGE: u8 = 4;
pub(super) const CHUNK_OUTPUTS: u8 = 5;

/// A protobuf field that is a number.
pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A protobuf field that is a message, bytes or a text.
pub(super) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), with_varint_length(value)].concat()
}

/// What the protocols of libp2p send: the length in a varint.
pub(super) fn with_varint_length(message: &[u8]) -> Vec<u8> {
    [&varint(message.len() as u64), message].concat()
}

/// What the protocols of this project send.
pub(super) fn with_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_le_bytes(), message].concat()
}

/// A frame of an answer.
pub(super) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], with_length(body)].concat()
}

/// A frame of a part.
pub(super) fn part(kind: u8, index: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind, &[&index.to_le_bytes(), payload].concat())
}

/// The fields of a protobuf message that are bytes; numbers are skipped.
pub(super) fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message);
        let value = take_varint(&mut message);
        if key & 7 == 2 {
            let (bytes, rest) = message.split_at(value as usize);
            found.push((key >> 3, bytes.to_vec()));
            message = rest;
        }
    }
    found
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The varint at the start, which is taken off.
pub(super) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            break;
        }
    }
    value
}
