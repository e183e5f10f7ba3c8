use thiserror::Error;

/// A part's payload as it is cached and sent: one lz4 block where that is shorter, else as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedPart {
    /// How `bytes` are to be read.
    pub packing: Packing,
    /// The packed payload.
    pub bytes: Vec<u8>,
}

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Raw,
    /// One lz4 block, without a size before it.
    Lz4,
}

/// The packed bytes do not unpack to as many bytes as the part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the packed part does not unpack to {expected_bytes} bytes")]
pub struct UnpackError {
    /// The part's size, from its verified manifest.
    pub expected_bytes: usize,
}

impl PackedPart {
    /// Packs a payload.
    pub fn pack(payload: &[u8]) -> Self {
        let packed = lz4_flex::block::compress(payload);
        if packed.len() < payload.len() {
            Self { packing: Packing::Lz4, bytes: packed }
        } else {
            Self { packing: Packing::Raw, bytes: payload.to_vec() }
        }
    }

    /// The payload, which must have `expected_bytes`: no other size is ever reserved.
    ///
    /// *Errors:* [`UnpackError`].
    pub fn unpack(&self, expected_bytes: usize) -> Result<Vec<u8>, UnpackError> {
        let wrong = UnpackError { expected_bytes };
        let payload = match self.packing {
            Packing::Raw if self.bytes.len() != expected_bytes => return Err(wrong),
            Packing::Raw => self.bytes.clone(),
            Packing::Lz4 => {
                let mut payload = vec![0; expected_bytes];
                let filled = lz4_flex::block::decompress_into(&self.bytes, &mut payload);
                filled.ok().filter(|filled| *filled == expected_bytes).ok_or(wrong)?;
                payload
            }
        };
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_shrink_is_packed_raw() {
        let noise: Vec<u8> =
            (0..999_u32).flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect();
        assert_eq!(PackedPart::pack(&noise).packing, Packing::Raw);
        assert_eq!(PackedPart::pack(&[7; 999]).packing, Packing::Lz4);
        assert_eq!(PackedPart::pack(&[]).packing, Packing::Raw);
    }

    #[test]
    fn a_payload_of_another_size_is_refused() {
        for payload in [&[7; 999][..], b"abc"] {
            let packed = PackedPart::pack(payload);
            for expected_bytes in [payload.len() - 1, payload.len() + 1, 0] {
                assert_eq!(packed.unpack(expected_bytes), Err(UnpackError { expected_bytes }));
            }
        }
    }

    proptest! {
        #[test]
        fn a_payload_survives_packing(payload in proptest::collection::vec(0_u8..4, 0..2_000)) {
            let packed = PackedPart::pack(&payload);
            prop_assert!(packed.bytes.len() <= payload.len());
            prop_assert_eq!(packed.unpack(payload.len()), Ok(payload));
        }

        #[test]
        fn arbitrary_bytes_unpack_to_the_expected_size_or_not_at_all(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            expected_bytes in 0_usize..5_000,
        ) {
            let packed = PackedPart { packing: Packing::Lz4, bytes };
            if let Ok(payload) = packed.unpack(expected_bytes) {
                prop_assert_eq!(payload.len(), expected_bytes);
            }
        }
    }
}
