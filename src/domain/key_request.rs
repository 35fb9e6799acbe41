//! What an administrator asks of a new key, read whole.

use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use utoipa::ToSchema;

use super::api_key::Role;
use super::job_request::MAX_NAME_CHARS;
use super::problem::{Kind, Problem};
use crate::nn::spec::reader::Reader;

/// A hundred years: whoever wants more means a key that doesn't expire.
const MAX_LIFE_S: u64 = 100 * 365 * 86_400;

/// A key to be made.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct KeyRequest {
    /// Whose key it is or what it is for, so that it can be told from others when one is to be revoked.
    #[schema(min_length = 1, max_length = 200, example = "ci")]
    pub name: String,
    pub role: Role,
    /// When it ends to work; left out, with `expires_in_s` too: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The same as a number of seconds from now.
    #[schema(minimum = 1, maximum = 3_153_600_000u64)]
    pub expires_in_s: Option<u64>,
}

impl KeyRequest {
    /// Errors: `invalid-spec` with every fault.
    pub fn read(document: &Value, now: Timestamp) -> Result<Self, Problem> {
        let mut reader = Reader::default();
        let request = Self::read_fields(&mut reader, document, now);
        match request {
            Some(request) if reader.faults.is_empty() => Ok(request),
            _ => Err(Problem::faults(Kind::InvalidSpec, "The key", reader.faults)),
        }
    }

    fn read_fields(reader: &mut Reader, document: &Value, now: Timestamp) -> Option<Self> {
        let fields = reader.object(document, "", &["name", "role", "expires_at", "expires_in_s"])?;
        let name = reader.required(&fields, "name", read_name);
        let roles = Role::ALL.map(|role| (role.name(), role));
        let role = reader.required(&fields, "role", |r, v, at| r.name(v, at, "role", &roles));
        let expires_at = reader.optional(&fields, "expires_at", |r, v, at| read_time_to_come(r, v, at, now));
        let expires_in_s = reader.optional(&fields, "expires_in_s", |r, v, at| r.integer(v, at, 1..=MAX_LIFE_S));
        if fields.has("expires_at") && fields.has("expires_in_s") {
            let detail = "says what expires_at says too; give one or the other";
            reader.fault(fields.pointer_to("expires_in_s"), detail);
        }
        Some(Self {
            name: name?,
            role: role?,
            expires_at,
            expires_in_s,
        })
    }

    /// When the key ends to work, if it was asked for at `now`.
    pub fn expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let life = self.expires_in_s.map(|seconds| (seconds as i64).seconds());
        self.expires_at.or_else(|| now.checked_add(life?).ok())
    }
}

fn read_name(reader: &mut Reader, value: &Value, pointer: &str) -> Option<String> {
    let name = reader.string(value, pointer)?;
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
    if !fits {
        reader.fault(pointer, format!("must have from 1 to {MAX_NAME_CHARS} characters"));
    }
    fits.then(|| name.to_owned())
}

fn read_time_to_come(reader: &mut Reader, value: &Value, pointer: &str, now: Timestamp) -> Option<Timestamp> {
    let text = reader.string(value, pointer)?;
    let time = text.parse().ok().filter(|time| *time > now);
    if time.is_none() {
        let tomorrow = now.round(jiff::Unit::Second).unwrap_or(now) + 24.hours();
        let detail = format!("must be a time to come as in RFC 3339, such as {tomorrow}");
        reader.fault(pointer, detail);
    }
    time
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn faults(document: Value) -> Vec<String> {
        let problem = KeyRequest::read(&document, now()).unwrap_err();
        assert_eq!(problem.kind, Kind::InvalidSpec);
        let line = |fault: &crate::nn::spec::Fault| format!("{} {}", fault.pointer, fault.detail);
        problem.faults.iter().map(line).collect()
    }

    #[test]
    fn a_key_expires_at_a_time_or_after_a_time_or_never() {
        let expiry = |document: Value| KeyRequest::read(&document, now()).unwrap().expiry(now());
        let hour = "2026-01-01T01:00:00Z".parse().ok();
        assert_eq!(expiry(json!({"name": "ci", "role": "read"})), None);
        assert_eq!(
            expiry(json!({"name": "ci", "role": "read", "expires_in_s": 3600})),
            hour
        );
        let at = json!({"name": "ci", "role": "read", "expires_at": "2026-01-01T02:00:00+01:00"});
        assert_eq!(expiry(at), hour);
        assert!(expiry(json!({"name": "ci", "role": "read", "expires_in_s": MAX_LIFE_S})).is_some());
    }

    #[test]
    fn every_fault_of_a_wish_is_told() {
        let wrong =
            json!({"name": "", "role": "wirte", "expires_at": "2025-12-31T00:00:00Z", "expires_in_s": 0, "rolle": 1});
        assert_eq!(
            faults(wrong),
            [
                "/rolle unknown field \"rolle\"; did you mean \"role\"?",
                "/name must have from 1 to 200 characters",
                "/role unknown role \"wirte\"; did you mean \"write\"?",
                "/expires_at must be a time to come as in RFC 3339, such as 2026-01-02T00:00:00Z",
                "/expires_in_s must be a whole number from 1 to 3153600000, not 0",
                "/expires_in_s says what expires_at says too; give one or the other",
            ]
        );
        assert_eq!(faults(json!({})), ["/name name is required", "/role role is required"]);
        assert_eq!(faults(json!([])), [" must be an object, not an array"]);
    }
}
