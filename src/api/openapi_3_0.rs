//! OpenAPI 3.0 from 3.1, for generators that don't know the newer one: its schemas are an older dialect of JSON Schema.

use serde_json::{Map, Value, json};

/// The same document in the words of OpenAPI 3.0.3.
pub(super) fn to_3_0(document: &Value) -> Value {
    let mut document = document.clone();
    document["openapi"] = json!("3.0.3");
    if let Some(license) = document.pointer_mut("/info/license").and_then(Value::as_object_mut) {
        license.remove("identifier");
    }
    for_each_member(document.pointer_mut("/components/schemas"), schema);
    for_each_member(document.pointer_mut("/paths"), |path| {
        for_each_member(Some(path), |operation| {
            let schemes = operation.get_mut("security").and_then(Value::as_array_mut);
            // Roles are an OAuth scheme's in 3.0.
            for scheme in schemes.into_iter().flatten() {
                for_each_member(Some(scheme), |roles| *roles = json!([]));
            }
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            parameters.into_iter().flatten().for_each(holder);
            for_each_member(operation.pointer_mut("/requestBody/content"), holder);
            for_each_member(operation.get_mut("responses"), |response| {
                for_each_member(response.get_mut("content"), holder);
                for_each_member(response.get_mut("headers"), holder);
            });
        });
    });
    document
}

fn for_each_member(object: Option<&mut Value>, change: impl FnMut(&mut Value)) {
    let members = object
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut);
    members.for_each(change);
}

/// Whatever has a `schema`: a parameter, a header, a body of some type.
fn holder(holder: &mut Value) {
    if let Some(held) = holder.get_mut("schema") {
        schema(held);
    }
}

/// Rewrites a schema and all within it.
fn schema(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    for_each_member(fields.get_mut("properties"), schema);
    for name in ["items", "additionalProperties", "not"] {
        fields.get_mut(name).into_iter().for_each(schema);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        fields
            .get_mut(name)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .for_each(schema);
    }
    null_as_a_variant(fields);
    types(fields);
    bounds(fields);
    if let Some(value) = fields.shift_remove("const") {
        fields.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(examples)) = fields.shift_remove("examples") {
        fields.extend(examples.into_iter().next().map(|first| ("example".to_owned(), first)));
    }
    if fields.shift_remove("prefixItems").is_some() {
        fields.insert("items".to_owned(), json!({}));
    }
    for name in ["propertyNames", "contentEncoding", "contentMediaType"] {
        fields.shift_remove(name);
    }
    reference(fields);
}

/// `oneOf: [X, {"type": "null"}]` is X, nullable. (The null variant has been rewritten by now.)
fn null_as_a_variant(fields: &mut Map<String, Value>) {
    for name in ["oneOf", "anyOf"] {
        let Some(variants) = fields.get_mut(name).and_then(Value::as_array_mut) else {
            continue;
        };
        let before = variants.len();
        variants.retain(|variant| *variant != null_only());
        if variants.len() == before {
            continue;
        }
        if variants.len() == 1 {
            let only = fields.shift_remove(name);
            fields.insert("allOf".to_owned(), only.unwrap_or_default());
        }
        fields.insert("nullable".to_owned(), json!(true));
    }
}

fn null_only() -> Value {
    json!({"nullable": true, "enum": [null]})
}

/// `type` is one name, and null a flag beside it.
fn types(fields: &mut Map<String, Value>) {
    let mut names: Vec<Value> = match fields.get("type") {
        Some(Value::Array(names)) => names.clone(),
        Some(name @ Value::String(_)) => vec![name.clone()],
        _ => return,
    };
    let with_null = names.iter().any(|name| name == "null");
    names.retain(|name| name != "null");
    if names.len() != 1 {
        fields.shift_remove("type");
    }
    match names.as_slice() {
        [] => {
            fields.extend([("nullable".to_owned(), json!(true)), ("enum".to_owned(), json!([null]))]);
            return;
        }
        [only] => fields["type"] = only.clone(),
        several => {
            let variants: Vec<Value> = several.iter().map(|name| json!({"type": name})).collect();
            fields.insert("anyOf".to_owned(), Value::Array(variants));
        }
    }
    if with_null {
        fields.insert("nullable".to_owned(), json!(true));
    }
}

/// An exclusive bound is a flag beside the bound.
fn bounds(fields: &mut Map<String, Value>) {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(value) = fields.get(exclusive).filter(|value| value.is_number()).cloned() {
            fields.insert(bound.to_owned(), value);
            fields.insert(exclusive.to_owned(), json!(true));
        }
    }
}

/// What stands beside a `$ref` is not read, so the reference becomes a part.
fn reference(fields: &mut Map<String, Value>) {
    if fields.len() > 1
        && let Some(reference) = fields.shift_remove("$ref")
    {
        fields.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_said_in_the_older_dialect() {
        let cases = [
            (
                json!({"type": ["string", "null"]}),
                json!({"type": "string", "nullable": true}),
            ),
            (json!({"type": "null"}), null_only()),
            (
                json!({"type": ["number", "string", "null"]}),
                json!({"anyOf": [{"type": "number"}, {"type": "string"}], "nullable": true}),
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"$ref": "#/x"}]}),
                json!({"allOf": [{"$ref": "#/x"}], "nullable": true}),
            ),
            (
                json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
                json!({"type": "number", "exclusiveMinimum": true, "maximum": 1, "minimum": 0}),
            ),
            (json!({"const": "dense"}), json!({"enum": ["dense"]})),
            (
                json!({"type": "integer", "examples": [1, 2]}),
                json!({"type": "integer", "example": 1}),
            ),
            (
                json!({"type": "array", "prefixItems": [{"type": "integer"}]}),
                json!({"type": "array", "items": {}}),
            ),
            (
                json!({"$ref": "#/x", "description": "an x"}),
                json!({"description": "an x", "allOf": [{"$ref": "#/x"}]}),
            ),
            (json!({"$ref": "#/x"}), json!({"$ref": "#/x"})),
        ];
        for (new, old) in cases {
            let mut rewritten = new.clone();
            schema(&mut rewritten);
            assert_eq!(rewritten, old, "{new}");
        }
    }

    #[test]
    fn a_property_may_be_called_as_a_keyword_is() {
        let mut object = json!({"type": "object", "properties": {"type": {"type": ["integer", "null"]}, "const": {"type": "string"}}});
        schema(&mut object);
        let expected = json!({"type": {"type": "integer", "nullable": true}, "const": {"type": "string"}});
        assert_eq!(object["properties"], expected);
    }
}
