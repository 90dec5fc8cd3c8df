//! `cargo playground` builds the page, `cargo playground serve` builds it and serves it on this machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Parser, Subcommand};
use tiny_http::{Header, Response, Server};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
/// The files of the page, beside what is made of the library.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../page");
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../..");

/// Builds the page of the playground: a folder of files for any web server.
#[derive(Parser)]
struct Arguments {
    /// Where the page is written to [default: playground, in the target directory].
    #[arg(long)]
    output: Option<PathBuf>,
    /// Leaves out the second module, which trains through WebGPU in a browser that has it, and is loaded when it is chosen.
    #[arg(long)]
    processor_only: bool,
    #[command(subcommand)]
    command: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Serves the page on this machine until it is stopped.
    Serve {
        /// The port to listen on.
        #[arg(long, default_value_t = 8000)]
        port: u16,
    },
}

fn main() -> Result<()> {
    let Arguments { output, processor_only, command } = Arguments::parse();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(WORKSPACE).join("target"), PathBuf::from);
    let output = output.unwrap_or_else(|| target.join("playground"));
    // A port that is taken is told before the minutes of a build.
    let server = match command {
        Some(Action::Serve { port }) => {
            let server = Server::http(("127.0.0.1", port));
            Some(server.map_err(|error| anyhow!("port {port} cannot be listened on: {error}"))?)
        }
        None => None,
    };
    build(&target, &output, !processor_only)?;
    println!("the page is in {}", output.display());
    if let Some(server) = server {
        serve(&output, &server);
    }
    Ok(())
}

fn build(target: &Path, output: &Path, webgpu: bool) -> Result<()> {
    add_target()?;
    fs::create_dir_all(output).with_context(|| format!("{} cannot be made", output.display()))?;
    for entry in fs::read_dir(PAGE)? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        fs::write(output.join(entry.file_name()), published(&text, &entry.path()))?;
    }
    module(target, &output.join("flex"), &[])?;
    let second = output.join("webgpu");
    if webgpu {
        module(target, &second, &["--features", "webgpu"])?;
    } else if second.exists() {
        fs::remove_dir_all(&second)
            .with_context(|| format!("{} of an earlier build cannot be removed", second.display()))?;
    }
    // What the page can offer.
    let backends = if webgpu { r#"["flex", "webgpu"]"# } else { r#"["flex"]"# };
    fs::write(output.join("backends.json"), backends)?;
    Ok(())
}

/// A script without indentation and comments of whole lines, which only those who change it read; other files as they are.
fn published(text: &str, path: &Path) -> String {
    if path.extension().is_none_or(|extension| extension != "js") {
        return text.to_owned();
    }
    let is_comment = |line: &str| ["//", "/*", "*"].iter().any(|sign| line.starts_with(sign));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// The library for one backend: compiled, and with the script that loads it.
fn module(target: &Path, output: &Path, features: &[&str]) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(cargo)
        .current_dir(WORKSPACE)
        .args(["build", "--locked", "--package", "playground", "--lib", "--profile", "page", "--target", TARGET])
        .args(features)
        .arg("--target-dir")
        .arg(target)
        // Every browser of today has it; relaxed SIMD some have not.
        .env("RUSTFLAGS", "-C target-feature=+simd128")
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "cargo could not build the library for {TARGET}");
    let library = target.join(TARGET).join("page").join("playground.wasm");
    Bindgen::new()
        .input_path(&library)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(output)
        .with_context(|| format!("bindings of {} cannot be made", library.display()))?;
    let bindings = output.join("playground.js");
    let text = fs::read_to_string(&bindings)?;
    fs::write(&bindings, published(&text, &bindings))?;
    Ok(())
}

/// The standard library for browsers, where it is not there yet.
fn add_target() -> Result<()> {
    let root = Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc cannot be run")?;
    let root = PathBuf::from(String::from_utf8(root.stdout)?.trim());
    if root.join("lib/rustlib").join(TARGET).exists() {
        return Ok(());
    }
    let status = Command::new("rustup").args(["target", "add", TARGET]).status();
    let status = status.with_context(|| format!("the target {TARGET} is missing, and rustup, too"))?;
    ensure!(status.success(), "rustup could not add the target {TARGET}");
    Ok(())
}

fn serve(page: &Path, server: &Server) {
    println!("open http://{}/ (Ctrl-C stops)", server.server_addr());
    for request in server.incoming_requests() {
        let path = request.url().split('?').next().unwrap_or_default().trim_start_matches('/');
        let path = if path.is_empty() { "index.html" } else { path }.to_owned();
        let answered = match file(page, &path) {
            Some(bytes) => request.respond(Response::from_data(bytes).with_header(media_type(&path))),
            None => request.respond(Response::from_string("not found").with_status_code(404)),
        };
        if let Err(error) = answered {
            eprintln!("{path}: {error}");
        }
    }
}

/// What lies in the page's folder, and nothing outside.
fn file(page: &Path, path: &str) -> Option<Vec<u8>> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| fs::read(page.join(path)).ok()).flatten()
}

fn media_type(path: &str) -> Header {
    let value = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("css") => "text/css",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    };
    Header::from_bytes("Content-Type", value).expect("header of plain letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_published_without_comments() {
        let script =
            "/**\n * What it\n * is for.\n */\n// And why.\nif (a) {\n  // Why.\n  b('// no comment'); // beside\n}\n";
        assert_eq!(published(script, Path::new("page.js")), "if (a) {\nb('// no comment'); // beside\n}\n");
        assert_eq!(published(script, Path::new("page.css")), script);
    }

    /// Lines of a text that goes over several are not to be changed.
    #[test]
    fn no_text_of_a_script_goes_over_several_lines() {
        for entry in fs::read_dir(PAGE).expect("the folder of the page") {
            let text = fs::read_to_string(entry.expect("a file").path()).expect("text");
            assert!(text.lines().all(|line| line.matches('`').count() % 2 == 0), "{text}");
        }
    }
}
