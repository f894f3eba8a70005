//! Writes the files that the server hands out about its own routes.

fn main() -> anyhow::Result<()> {
    for (path, contents) in reference::files() {
        std::fs::write(&path, contents)?;
    }
    Ok(())
}
