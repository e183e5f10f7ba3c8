use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::number::{hex_number, number};
use super::{Entries, GenesisProblem, Located};

/// A chain's genesis document: NEAR's has `records`, Ethereum's `alloc`.
#[derive(Deserialize)]
struct Document {
    records: Option<Vec<Record>>,
    alloc: Option<InOrder<EthereumAccount>>,
}

#[derive(Deserialize)]
enum Record {
    Account { account_id: String, account: Value },
    AccessKey { account_id: String, public_key: String, access_key: Value },
    Contract { account_id: String, code: String },
    Data { account_id: String, data_key: String, value: String },
}

#[derive(Deserialize)]
struct EthereumAccount {
    balance: String,
    nonce: Option<String>,
    code: Option<String>,
    storage: Option<InOrder<String>>,
}

/// The members of a JSON object in the order in which they stand.
struct InOrder<T>(Vec<(String, T)>);

/// The entries of a chain's genesis document.
pub(super) fn document(bytes: &[u8]) -> Result<Entries, Located> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| Located::json(&error, None))?;
    if document.records.is_none() && document.alloc.is_none() {
        return Err(GenesisProblem::UnknownChain.into());
    }
    let mut entries = Entries::new();
    for record in document.records.into_iter().flatten() {
        let (key, value) = near_entry(record)?;
        entries.insert(key, value);
    }
    for (address, account) in document.alloc.map(|alloc| alloc.0).into_iter().flatten() {
        ethereum_entries(&address, account, &mut entries)?;
    }
    Ok(entries)
}

/// The entry of one NEAR record: account id, a zero, a byte for the kind, and what names it.
fn near_entry(record: Record) -> Result<(Vec<u8>, Vec<u8>), GenesisProblem> {
    let key = |account_id: &str, kind: u8, rest: &[u8]| {
        [account_id.as_bytes(), &[0, kind], rest].concat()
    };
    Ok(match record {
        Record::Account { account_id, account } => {
            let value = compact(&account_id, &account)?;
            (key(&account_id, 0, &[]), value)
        }
        Record::AccessKey { account_id, public_key, access_key } => {
            let value = compact(&account_id, &access_key)?;
            (key(&account_id, 1, public_key.as_bytes()), value)
        }
        Record::Contract { account_id, code } => {
            let code = from_base64(&account_id, &code)?;
            (key(&account_id, 2, &[]), code)
        }
        Record::Data { account_id, data_key, value } => {
            let data_key = from_base64(&account_id, &data_key)?;
            (key(&account_id, 3, &data_key), from_base64(&account_id, &value)?)
        }
    })
}

/// JSON without spaces, its members in the order of their names.
fn compact(account_id: &str, value: &Value) -> Result<Vec<u8>, GenesisProblem> {
    let sorted =
        Sorted::new(value).ok_or_else(|| GenesisProblem::Fraction(account_id.to_owned()))?;
    serde_json::to_vec(&sorted).map_err(|error| GenesisProblem::Json(error.to_string()))
}

/// A JSON value whose members are sorted whatever order the parser keeps, and whose numbers are
/// whole: only those have one text.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Sorted<'a> {
    Leaf(&'a Value),
    List(Vec<Sorted<'a>>),
    Object(BTreeMap<&'a str, Sorted<'a>>),
}

impl<'a> Sorted<'a> {
    /// None if a number is not whole. As deep as the parser, which goes 128 levels down.
    fn new(value: &'a Value) -> Option<Self> {
        match value {
            Value::Number(number) if !number.is_i64() && !number.is_u64() => None,
            Value::Array(list) => {
                Some(Self::List(list.iter().map(Self::new).collect::<Option<_>>()?))
            }
            Value::Object(members) => {
                let members =
                    members.iter().map(|(name, value)| Some((name.as_str(), Self::new(value)?)));
                Some(Self::Object(members.collect::<Option<_>>()?))
            }
            leaf => Some(Self::Leaf(leaf)),
        }
    }
}

/// The entries of one Ethereum account: balance and nonce, code, and a slot each.
fn ethereum_entries(
    address: &str,
    account: EthereumAccount,
    entries: &mut Entries,
) -> Result<(), GenesisProblem> {
    let key = from_hex(address, address)?;
    if key.len() != 20 {
        return Err(GenesisProblem::Address(address.to_owned()));
    }
    let balance: [u8; 32] = number(&format!("balance of {address}"), &account.balance)?;
    let nonce = account.nonce.as_deref().unwrap_or("0");
    let nonce: [u8; 8] = number(&format!("nonce of {address}"), nonce)?;
    entries.insert([&key[..], &[0]].concat(), [&balance[..], &nonce].concat());
    if let Some(code) = account.code.filter(|code| !code.is_empty()) {
        entries.insert([&key[..], &[1]].concat(), from_hex(address, &code)?);
    }
    for (slot, value) in account.storage.map(|storage| storage.0).into_iter().flatten() {
        let what = format!("storage of {address}");
        let (slot, value): ([u8; 32], [u8; 32]) =
            (hex_number(&what, &slot)?, hex_number(&what, &value)?);
        entries.insert([&key[..], &[2], &slot].concat(), value.to_vec());
    }
    Ok(())
}

fn from_hex(what: &str, digits: &str) -> Result<Vec<u8>, GenesisProblem> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    hex::decode(digits).map_err(|error| GenesisProblem::Hex { what: what.to_owned(), error })
}

fn from_base64(what: &str, text: &str) -> Result<Vec<u8>, GenesisProblem> {
    STANDARD.decode(text).map_err(|error| GenesisProblem::Base64 { what: what.to_owned(), error })
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = InOrder<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(InOrder(members))
            }
        }
        input.deserialize_map(Members(std::marker::PhantomData))
    }
}
