//! A zip file, as a wheel is one: files one after the other, not compressed, and a directory at the end (APPNOTE.TXT, section 4.3).

/// 1 January 1980, the first day of zip files: the same files make the same bytes.
const DATE: u16 = 0x0021;
/// Version 2.0 is needed to read it.
const VERSION: u16 = 20;
/// Made on Unix, whose modes the directory holds.
const UNIX: u16 = 3 << 8;

/// A zip file that is being written. It holds less than 4 GiB.
#[derive(Default)]
pub(crate) struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl Zip {
    /// Adds a file with its mode.
    pub(crate) fn add(&mut self, name: &str, contents: &[u8], mode: u32) {
        let offset = length(&self.bytes);
        let (size, crc) = (length(contents), crc32fast::hash(contents));
        let mut common = Vec::new();
        for number in [VERSION, 0, 0, 0, DATE] {
            common.extend(number.to_le_bytes());
        }
        for number in [crc, size, size] {
            common.extend(number.to_le_bytes());
        }
        for number in [u16::try_from(name.len()).unwrap_or(u16::MAX), 0] {
            common.extend(number.to_le_bytes());
        }
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(contents);

        self.directory.extend(b"PK\x01\x02");
        self.directory.extend((UNIX | VERSION).to_le_bytes());
        self.directory.extend(&common);
        // No comment, on the first disk, no internal attributes.
        self.directory.extend([0; 6]);
        self.directory.extend(((0o100_000 | mode) << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    /// The whole file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let (offset, size) = (length(&self.bytes), length(&self.directory));
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06");
        for number in [0, 0, self.count, self.count] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(offset.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_file_has_its_files_and_a_directory() {
        let mut zip = Zip::default();
        zip.add("a", b"one", 0o755);
        zip.add("b/c", b"two", 0o644);
        let bytes = zip.finish();
        assert!(
            bytes.starts_with(b"PK\x03\x04\x14\x00")
                && bytes.windows(4).filter(|part| part == b"PK\x01\x02").count() == 2
        );
        let end = &bytes[bytes.len() - 22..];
        assert_eq!((&end[..4], &end[8..12]), (&b"PK\x05\x06"[..], &[2, 0, 2, 0][..]));
        let offset = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
        assert!(bytes[offset..].starts_with(b"PK\x01\x02"));
    }
}
