//! As much of JSON Schema as values.schema.json uses, but for patterns; what it does not know, it refuses. (A whole validator is 70 crates.)

use serde_json::Value;

/// Everything about a value that its schema does not allow, by its path.
pub(super) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check("", schema, value, &mut faults);
    faults
}

fn check(path: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let is_fine = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => has_type(wanted.as_str().unwrap(), value),
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|number| number >= wanted.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|number| number <= wanted.as_i64().unwrap()),
            "minLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap())
            }
            // Helm looks at it, with the regular expressions that this does not have.
            "pattern" => true,
            "required" => {
                let keys = wanted.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
                keys.filter(|key| value.get(key).is_none())
                    .for_each(|key| faults.push(format!("{path}.{key} is missing")));
                true
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.for_each(|(index, item)| check(&format!("{path}[{index}]"), wanted, item, faults));
                true
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(&format!("{path}.{key}"), schema, value, faults);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten();
                for (key, value) in
                    others.filter(|(key, _)| !known.is_some_and(|known| known.contains_key(*key)))
                {
                    match wanted {
                        Value::Bool(true) => {}
                        Value::Bool(false) => faults.push(format!("{path}.{key} is unknown")),
                        schema => check(&format!("{path}.{key}"), schema, value, faults),
                    }
                }
                true
            }
            other => panic!("{path}: this test does not know {other}"),
        };
        if !is_fine {
            faults.push(format!("{path} is not as {keyword} says"));
        }
    }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("this test does not know the type {other}"),
    }
}
