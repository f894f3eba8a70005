//! A receiver of webhooks that answers 204 at once, on connections that stay open. Its first line says where it is and how a host comes to trust
//! it; then it prints a line for each message that has arrived, and none for notifications, of which a load makes many.

use std::io::{self, BufRead as _, Read as _, Write as _};

use tests::tls::{Authority, Stream};

/// The longest body that is taken.
const MOST: usize = 1 << 20;

fn main() -> io::Result<()> {
    let authority = Authority::new(&["worker"]);
    let port = authority.serve(answer);
    let config = authority.runtime_config();
    let line =
        serde_json::json!({ "address": format!("localhost:{port}"), "runtime_config": config.to_string_lossy() });
    writeln!(io::stdout(), "{line}")?;
    loop {
        std::thread::park();
    }
}

/// Answers the requests of a connection until it ends.
fn answer(stream: &mut Stream) -> io::Result<()> {
    loop {
        let (mut line, mut length, mut is_chunked) = (String::new(), 0, false);
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if is_chunked {
            while chunk(stream, &mut body)? {}
        } else {
            body.resize(MOST.min(length), 0);
            stream.read_exact(&mut body)?;
        }
        stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        stream.get_mut().flush()?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match body.get("kind").and_then(serde_json::Value::as_str) {
            Some("notification") => {}
            kind => writeln!(io::stdout(), "{}", kind.unwrap_or("-"))?,
        }
    }
}

/// Reads a chunk; `false`: it was the last.
fn chunk(stream: &mut Stream, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
    let start = body.len();
    if size > MOST {
        return Err(io::Error::other("a large chunk"));
    }
    body.resize(start + size, 0);
    stream.read_exact(body.get_mut(start..).unwrap_or_default())?;
    stream.read_line(&mut String::new())?;
    Ok(size > 0)
}
