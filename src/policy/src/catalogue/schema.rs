//! JSON Schemas of `authorization_details` (RFC 9396): compiled when the
//! catalogue is read, never fetching anything, checked on each request.

use std::fmt;
use std::sync::Arc;

use boon::{Compiler, Draft, SchemaIndex, Schemas, UrlLoader};
use serde_json::Value;

use crate::limits::SCHEMA_BYTES_MAX;

/// The schema of one type of `authorization_details`.
#[derive(Clone)]
pub struct Details {
    schema: Arc<Value>,
    compiled: Arc<Schemas>,
    root: SchemaIndex,
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Details({})", self.schema)
    }
}

/// Where the one schema is known under; nothing else can be loaded.
const HERE: &str = "bulla:schema";

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
        let checked = self.compiled.validate(details, self.root);
        checked.map_err(|error| brief(&error.to_string()))
    }
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
