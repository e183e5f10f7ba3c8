use std::path::{Path, PathBuf};

use ketch_types::{ByteSize, LayoutError, PART_BYTES_DEFAULT, ShardId, ShardLayout};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::toml_file::{TomlFileError, read_toml};
use crate::toml_size::Size;

/// Why a layout file was refused.
#[derive(Debug, Error)]
pub enum LayoutFileError {
    /// It is not what a layout file looks like.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// What it says is not a layout.
    #[error("{path}: {error}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: LayoutError,
    },
}

/// The shard layout in the TOML file at `path`: `shards`, ids in key order; `boundaries`, between
/// them, each text or `{ hex = "…" }`; and `part_bytes`, 4 MiB if it is not there.
///
/// *Errors:* see [`LayoutFileError`].
pub fn read_layout(path: &Path) -> Result<ShardLayout, LayoutFileError> {
    let file: LayoutFile = read_toml(path)?;
    let shards = file.shards.into_iter().map(ShardId).collect();
    let boundaries = file.boundaries.into_iter().map(|boundary| boundary.0).collect();
    ShardLayout::new(shards, boundaries, file.part_bytes.0.0)
        .map_err(|error| LayoutFileError::Layout { path: path.to_owned(), error })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutFile {
    shards: Vec<u32>,
    #[serde(default)]
    boundaries: Vec<Boundary>,
    #[serde(default = "default_part_bytes")]
    part_bytes: Size,
}

fn default_part_bytes() -> Size {
    Size(ByteSize(u64::from(PART_BYTES_DEFAULT)))
}

/// A boundary: text, or a table with the key's bytes in hex.
struct Boundary(Vec<u8>);

impl<'de> Deserialize<'de> for Boundary {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Key;
        impl<'de> Visitor<'de> for Key {
            type Value = Boundary;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a boundary such as \"aurora\" or { hex = \"40\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Boundary, E> {
                Ok(Boundary(text.as_bytes().to_vec()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Boundary, A::Error> {
                let Some(("hex", digits)) = map.next_entry::<&str, String>()? else {
                    return Err(A::Error::custom("a boundary's table has the one key `hex`"));
                };
                let key = hex::decode(&digits).map_err(A::Error::custom)?;
                if map.next_key::<&str>()?.is_some() {
                    return Err(A::Error::custom("a boundary's table has the one key `hex`"));
                }
                Ok(Boundary(key))
            }
        }
        input.deserialize_any(Key)
    }
}
