//! The keys that validators sign ledger infos with.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use ketch_types::Hash;
use thiserror::Error;

use crate::domain::K_SIGNED;
use crate::ledger_info::LedgerInfo;

/// The key that a validator's signatures are checked under.
///
/// *Shape:* the canonical encoding of a point of ed25519 that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsensusKey(VerifyingKey);

/// Why bytes are not a consensus key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConsensusKeyError {
    /// The bytes encode no point of the curve.
    #[error("a consensus key is not a point of ed25519")]
    NotAPoint,
    /// The point has another encoding, which is the only one accepted.
    #[error("a consensus key is not in its canonical encoding")]
    NotCanonical,
    /// Under such a key, signatures verify that nobody made.
    #[error("a consensus key is a point of small order")]
    SmallOrder,
}

/// One signature of ed25519. Any 64 bytes are one; whether it is good is seen when it is verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// The secret half of a [`ConsensusKey`].
///
/// *Shape:* it is never shown, and wiped when it is dropped.
pub struct ConsensusSigner(SigningKey);

impl ConsensusKey {
    /// The key that these bytes encode.
    ///
    /// *Errors:* see [`ConsensusKeyError`].
    pub fn new(bytes: &[u8; 32]) -> Result<Self, ConsensusKeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| ConsensusKeyError::NotAPoint)?;
        if VerifyingKey::from(key.to_edwards()).as_bytes() != bytes {
            return Err(ConsensusKeyError::NotCanonical);
        }
        if key.is_weak() {
            return Err(ConsensusKeyError::SmallOrder);
        }
        Ok(Self(key))
    }

    /// The key's encoding.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` is one over `message`, verified strictly: canonical encodings, no point
    /// of small order, no cofactor.
    pub(crate) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for ConsensusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash(*self.as_bytes()), f)
    }
}

impl fmt::Debug for ConsensusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (halves, _) = self.0.as_chunks();
        halves.iter().try_for_each(|half| fmt::Display::fmt(&Hash(*half), f))
    }
}

impl ConsensusSigner {
    /// The signer whose secret key, as RFC 8032 names it, is this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn key(&self) -> ConsensusKey {
        ConsensusKey(self.0.verifying_key())
    }

    /// Signs a ledger info. The caller answers for never signing two of one height.
    pub fn sign(&self, ledger_info: &LedgerInfo) -> Signature {
        Signature(self.0.sign(&signed_message(ledger_info)).to_bytes())
    }
}

impl fmt::Debug for ConsensusSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsensusSigner({})", self.key())
    }
}

/// The bytes that validators sign.
pub(crate) fn signed_message(ledger_info: &LedgerInfo) -> [u8; 96] {
    let hash = ledger_info.hash();
    let fields = [&K_SIGNED, ledger_info.chain.as_bytes(), hash.as_bytes()];
    let mut message = [0; 96];
    for (place, field) in message.chunks_exact_mut(32).zip(fields) {
        place.copy_from_slice(field);
    }
    message
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Verifier as _;

    use super::*;
    use crate::fixture::{Chain, signer};

    fn bytes32(hex: &str) -> [u8; 32] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_first_vector_of_rfc_8032_holds() {
        let seed = bytes32("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let signer = ConsensusSigner::from_seed(&seed);
        let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(signer.key().to_string(), key);
        let signature = hex::decode(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39\
             701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        );
        let signature = Signature(signature.unwrap().try_into().unwrap());
        assert!(format!("{signature:?}").starts_with("e5564300c3"));
        assert!(format!("{signature:?}").ends_with("8e7a100b"));
        assert!(signer.key().verifies(b"", &signature));
        assert!(!signer.key().verifies(b"x", &signature));
    }

    #[test]
    fn a_signer_never_shows_its_secret() {
        let signer = ConsensusSigner::from_seed(&[0xa5; 32]);
        assert_eq!(format!("{signer:?}"), format!("ConsensusSigner({})", signer.key()));
        assert!(!format!("{signer:?}").contains("a5a5"));
    }

    #[test]
    fn the_signed_message_is_its_domain_the_chain_and_the_hash() {
        let info = Chain::new().ledger_info(3);
        let hash = info.hash();
        let parts = [&K_SIGNED[..], info.chain.as_bytes(), hash.as_bytes()];
        assert_eq!(signed_message(&info)[..], parts.concat());
    }

    #[test]
    fn a_point_of_small_order_is_not_a_key() {
        let order_of_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        let mut one = [0; 32];
        one[0] = 1;
        for bytes in [one, [0; 32], bytes32(order_of_8)] {
            assert_eq!(ConsensusKey::new(&bytes), Err(ConsensusKeyError::SmallOrder));
        }
    }

    #[test]
    fn a_key_that_is_not_canonical_is_refused() {
        // y = p + n is another way to write y = n, and x = 0 has no negative.
        let mut refused = Vec::new();
        for low in 0xed..=0xff {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            refused.push(ConsensusKey::new(&bytes).unwrap_err());
        }
        assert!(refused.contains(&ConsensusKeyError::NotCanonical));
        assert!(!refused.contains(&ConsensusKeyError::SmallOrder));
        let mut minus_zero = [0; 32];
        (minus_zero[0], minus_zero[31]) = (1, 0x80);
        assert_eq!(ConsensusKey::new(&minus_zero), Err(ConsensusKeyError::NotCanonical));
    }

    #[test]
    fn bytes_off_the_curve_are_not_a_key() {
        let mut two = [0; 32];
        two[0] = 2;
        assert_eq!(ConsensusKey::new(&two), Err(ConsensusKeyError::NotAPoint));
    }

    #[test]
    fn a_signature_with_s_above_the_groups_order_is_refused() {
        let chain = Chain::new();
        let info = chain.ledger_info(3);
        let good = chain.signers[0].sign(&info);
        let key = chain.signers[0].key();
        assert!(key.verifies(&signed_message(&info), &good));
        // S + L is the same scalar in another encoding.
        let order = bytes32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        let mut other = good;
        for (byte, add) in other.0[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = u8::try_from(sum % 256).unwrap();
            carry = sum / 256;
        }
        assert_eq!(carry, 0);
        assert!(!key.verifies(&signed_message(&info), &other));
    }

    /// Signatures over "ketch" under the key of the seed of ones, made by a script.
    fn verifies(signature: &str) -> bool {
        let signature = Signature(hex::decode(signature).unwrap().try_into().unwrap());
        signer(0).key().verifies(b"ketch", &signature)
    }

    #[test]
    fn a_signature_with_r_of_small_order_is_refused() {
        // R is the neutral element and S = k·a, so that the equation without a cofactor holds.
        let signature = "010000000000000000000000000000000000000000000000000000000000000021f1b03a\
                         6c141dff814becb0cc79e41193836a89be92901a344861ab07a5300d";
        let lax = ed25519_dalek::Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
        assert!(signer(0).key().0.verify(b"ketch", &lax).is_ok());
        assert!(!verifies(signature));
    }

    #[test]
    fn a_signature_that_only_a_cofactor_makes_good_is_refused() {
        let good = "7767a3242dc9b58bbc68488c1265cc6cc5f26c6f3c88a5d55e901b0734dca5720cbdb5c363cca1\
                    aeac5ea027a0541017187157871206f18174697716dd643d08";
        let r_with_a_component_of_order_8 = "b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b237520d433a904621779\
             269a74b37f286f5e6de6cd44b2674643d37f9d7c4a02";
        assert!(verifies(good) && !verifies(r_with_a_component_of_order_8));
    }
}
