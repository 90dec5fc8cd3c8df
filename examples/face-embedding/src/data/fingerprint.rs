//! Telling the contents of pictures apart.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::face_set::{Face, FaceSet};

/// Half of the SHA-256 of the pixels of a picture: nobody makes two different pictures that have the same one.
///
/// It is of the pixels as the network gets them, so a copy in another format without loss has the fingerprint of the
/// original; one that was saved as JPEG has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// That of the pixels of a picture.
    pub(super) fn of_pixels(pixels: &[u8]) -> Self {
        let half = Sha256::digest(pixels)[..16].try_into().expect("a SHA-256 has 32 bytes");
        Self(u128::from_be_bytes(half))
    }
}

/// The fingerprints of all pictures of a set, in their order.
pub fn fingerprints(faces: &FaceSet) -> Vec<Fingerprint> {
    faces.faces.iter().map(Face::fingerprint).collect()
}

impl From<Fingerprint> for String {
    fn from(Fingerprint(number): Fingerprint) -> Self {
        format!("{number:032x}")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_first_half_of_the_sha_256() {
        // FIPS 180-2, appendix B.1: the SHA-256 of "abc" begins like this.
        let fingerprint = Fingerprint::of_pixels(b"abc");
        assert_eq!(String::from(fingerprint), "ba7816bf8f01cfea414140de5dae2223");
        let json = serde_json::to_string(&fingerprint).expect("a fingerprint is a JSON string");
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).expect("a fingerprint"), fingerprint);
    }
}
