//! `bulla policy show`: the files of a policy set, on the screen or in a folder.

use std::fs;
use std::path::{Component, Path};

use serde_json::json;

use crate::admin::connect;
use crate::command::AdminSocket;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::policy_v1::policy_client::PolicyClient;
use crate::wire::policy_v1::{File, ShowRequest};

/// Shows or writes a set.
///
/// # Errors
/// There is no such set, the server is away, or the folder cannot be written.
pub(super) async fn run(
    digest: Option<String>,
    write: Option<&Path>,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = PolicyClient::new(connect(admin).await?);
    let request = ShowRequest {
        digest: digest.unwrap_or_default(),
    };
    let mut parts = client.show(request).await?.into_inner();
    let (mut digest, mut files) = (String::new(), Vec::new());
    while let Some(part) = parts.message().await? {
        if !part.digest.is_empty() {
            digest = part.digest;
        }
        files.extend(part.files);
    }
    if let Some(folder) = write {
        return write_all(&digest, &files, folder, out);
    }
    if out.is_json() {
        let files = files
            .iter()
            .map(|file| json!({ "name": file.name, "text": file.text }));
        let answer = json!({ "digest": digest, "files": files.collect::<Vec<_>>() });
        return Ok(out.document(&answer)?);
    }
    out.line(format!("# {digest}"))?;
    for file in &files {
        out.line(format!("\n# {}", file.name))?;
        out.line(file.text.trim_end())?;
    }
    Ok(())
}

fn write_all(digest: &str, files: &[File], folder: &Path, out: &mut Output) -> Result<(), Failure> {
    let told = |path: &Path, error: &std::io::Error| {
        Failure::usage(format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir(folder).map_err(|error| told(folder, &error))?;
    for file in files {
        let name = Path::new(&file.name);
        // The server's word is not a path to anywhere.
        if !name
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(Failure::refused(format!(
                "the server names a file {:?}",
                file.name
            )));
        }
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| told(parent, &error))?;
        fs::write(&path, &file.text).map_err(|error| told(&path, &error))?;
    }
    if out.is_json() {
        return Ok(out.document(&json!({ "digest": digest, "written": files.len() }))?);
    }
    Ok(out.line(format!(
        "{} files of {digest} in {}",
        files.len(),
        folder.display()
    ))?)
}
