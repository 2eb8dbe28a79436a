//! JSON Schemas of `authorization_details` (RFC 9396): compiled when the
//! catalogue is read, never fetching anything, checked on each request.

use std::fmt;
use std::sync::Arc;

use boon::{Compiler, Draft, SchemaIndex, Schemas, UrlLoader};
use serde_json::Value;

use crate::limits::{JSON_NESTING_MAX, SCHEMA_BYTES_MAX, SCHEMA_REFERENCES_MAX};
use crate::{json_nesting, on_large_stack};

/// The schema of one type of `authorization_details`.
#[derive(Clone)]
pub struct Details {
    schema: Arc<Value>,
    compiled: Arc<Schemas>,
    root: SchemaIndex,
    /// Keywords that apply a further schema to the same value.
    references: usize,
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Details({})", self.schema)
    }
}

/// Where the one schema is known under; nothing else can be loaded.
const HERE: &str = "bulla:schema";

/// Keywords that apply a further schema to the value at hand: each can be one level of
/// recursion more, for each level of the value.
const REFERENCES: [&str; 12] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];

/// Levels of recursion that fit on any thread's stack.
const SHALLOW: usize = 128;

/// A schema stands alone: whatever it refers to is inside it.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url} is outside the schema; put it under $defs").into())
    }
}

impl Details {
    /// Compiles a schema, draft 2020-12 unless it says otherwise.
    ///
    /// # Errors
    /// Why it is no schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let bytes = schema.to_string().len();
        if bytes > SCHEMA_BYTES_MAX {
            return Err(format!(
                "the schema has {bytes} bytes; at most {SCHEMA_BYTES_MAX}"
            ));
        }
        if !schema.is_object() {
            return Err("a schema is a mapping, such as {type: object}".into());
        }
        let nesting = json_nesting(schema);
        if nesting > JSON_NESTING_MAX {
            return Err(format!(
                "the schema nests {nesting} deep; at most {JSON_NESTING_MAX}"
            ));
        }
        let references = references(schema);
        if references > SCHEMA_REFERENCES_MAX {
            return Err(format!(
                "the schema has {references} of {}; at most {SCHEMA_REFERENCES_MAX}",
                REFERENCES.join(", ")
            ));
        }
        on_large_stack(|| Self::compiled(schema, references)).map_err(|e| e.to_string())?
    }

    fn compiled(schema: &Value, references: usize) -> Result<Self, String> {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.use_loader(Box::new(Nothing));
        let told = |error: boon::CompileError| brief(&format!("{error:#}"));
        compiler.add_resource(HERE, schema.clone()).map_err(told)?;
        let root = compiler.compile(HERE, &mut schemas).map_err(told)?;
        Ok(Self {
            schema: Arc::new(schema.clone()),
            compiled: Arc::new(schemas),
            root,
            references,
        })
    }

    /// The schema as written.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Checks one `authorization_details` object.
    ///
    /// # Errors
    /// Where it is not what the schema asks for.
    pub fn check(&self, details: &Value) -> Result<(), String> {
        let nesting = json_nesting(details);
        if nesting > JSON_NESTING_MAX {
            return Err(format!(
                "it nests {nesting} deep; at most {JSON_NESTING_MAX}"
            ));
        }
        let check = || {
            let checked = self.compiled.validate(details, self.root);
            checked.map_err(|error| brief(&error.to_string()))
        };
        if (nesting + 1) * (self.references + 1) <= SHALLOW {
            return check();
        }
        on_large_stack(check).map_err(|error| format!("it cannot be checked now: {error}"))?
    }
}

/// How often a schema applies a further schema to the value at hand.
fn references(schema: &Value) -> usize {
    let mut found = 0;
    let mut waiting = vec![schema];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                let names = members.keys().map(String::as_str);
                found += names.filter(|name| REFERENCES.contains(name)).count();
                waiting.extend(members.values());
            }
            _ => {}
        }
    }
    found
}

/// The complaint on one line, without our inner name for the schema.
fn brief(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("jsonschema validation failed"))
        .collect();
    lines
        .join(", ")
        .replace(HERE, "")
        .chars()
        .take(400)
        .collect()
}
