//! How deep JSON nests, found without recursion.

use serde_json::Value;

/// The most objects and arrays inside one another: 0 for a plain value, 1 for `{}`.
#[must_use]
pub fn json_nesting(value: &Value) -> usize {
    let mut deepest = 0;
    let mut waiting = vec![(value, 0)];
    while let Some((value, above)) = waiting.pop() {
        let inside = match value {
            Value::Array(items) => {
                waiting.extend(items.iter().map(|item| (item, above + 1)));
                above + 1
            }
            Value::Object(members) => {
                waiting.extend(members.values().map(|member| (member, above + 1)));
                above + 1
            }
            _ => above,
        };
        deepest = deepest.max(inside);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::json_nesting;

    #[test]
    fn the_deepest_place_counts() {
        for (value, deep) in [
            (json!(1), 0),
            (json!([]), 1),
            (json!({"a": 1, "b": {"c": [1]}}), 3),
            (json!([[[1]], {"a": {}}]), 3),
        ] {
            assert_eq!(json_nesting(&value), deep, "{value}");
        }
    }
}
