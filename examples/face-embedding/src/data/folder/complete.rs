//! Tells a whole file from one that was cut off, as by an interrupted download.
//!
//! Decoders are lenient: they fill what is missing with gray, and a model would learn the gray.

/// Whether a JPEG reaches its end-of-image marker.
///
/// The segments are walked by their lengths, because the thumbnail in an EXIF segment has an
/// end-of-image marker of its own. What follows the end is ignored: cameras append things there.
/// Damage inside the picture is not found, only a missing end.
///
/// # Source
///
/// ITU-T T.81, 1992, sections B.1.1 and B.2.
pub(super) fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;

    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]) else { return false };
    let mut scans = 0;
    loop {
        // A marker is any number of 0xff and one other byte.
        let Some((&0xff, after)) = rest.split_first() else { return false };
        let Some(marker_at) = after.iter().position(|&byte| byte != 0xff) else { return false };
        let marker = after[marker_at];
        rest = &after[marker_at + 1..];
        if marker == END_OF_IMAGE {
            return scans > 0;
        }
        let Some(&[high, low]) = rest.first_chunk() else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 || length > rest.len() {
            return false;
        }
        rest = &rest[length..];
        if marker == START_OF_SCAN {
            scans += 1;
            let Some(end) = end_of_scan(rest) else { return false };
            rest = &rest[end..];
        }
    }
}

/// Whether a WebP has as many bytes as it says; what follows is ignored.
///
/// # Source
///
/// RFC 9649, section 2.4.
pub(super) fn is_whole_webp(bytes: &[u8]) -> bool {
    let Some((size, data)) = bytes.strip_prefix(b"RIFF").and_then(<[u8]>::split_first_chunk) else { return false };
    data.len() >= u32::from_le_bytes(*size) as usize
}

/// Where the compressed data of a scan ends: at the first marker that does not belong to it.
fn end_of_scan(data: &[u8]) -> Option<usize> {
    // 0xff00 is a data byte 0xff, 0xffd0 to 0xffd7 are restarts, and 0xffff is padding.
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    data.windows(2).position(is_marker)
}

/// Whether a PNG reaches its last chunk, with every checksum right.
///
/// # Source
///
/// W3C: Portable Network Graphics, third edition, section 5.3.
pub(super) fn is_whole_png(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    loop {
        let Some((length, after)) = rest.split_first_chunk() else { return false };
        let length = u32::from_be_bytes(*length) as usize;
        // Chunk: four bytes of name, the data, four bytes of checksum over both.
        let Some(checked) = after.get(..length.saturating_add(4)) else { return false };
        let Some(checksum) = after[checked.len()..].first_chunk() else { return false };
        if crc32(checked) != u32::from_be_bytes(*checksum) {
            return false;
        }
        if checked.starts_with(b"IEND") {
            return true;
        }
        rest = &after[checked.len() + 4..];
    }
}

/// The cyclic redundancy check of PNG, section D of its specification.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut value = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ if value & 1 == 1 { 0xedb8_8320 } else { 0 };
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start, an EXIF-like segment that holds a whole small JPEG, a scan and an end.
    fn jpeg_with_thumbnail() -> Vec<u8> {
        let thumbnail = [0xff, 0xd8, 0xff, 0xda, 0, 2, 0x11, 0xff, 0xd9];
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 2 + thumbnail.len() as u8];
        bytes.extend(thumbnail);
        // A scan with an escaped 0xff, a restart and a second scan after padding.
        bytes.extend([0xff, 0xda, 0, 3, 9, 0x11, 0xff, 0, 0x22, 0xff, 0xd3, 0x33]);
        bytes.extend([0xff, 0xff, 0xda, 0, 2, 0x44, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn jpeg_is_whole_only_with_its_own_last_byte() {
        let bytes = jpeg_with_thumbnail();
        assert!(is_whole_jpeg(&bytes));
        for cut in 0..bytes.len() {
            assert!(!is_whole_jpeg(&bytes[..cut]), "cut at {cut}");
        }
    }

    #[test]
    fn bytes_after_the_end_of_a_jpeg_do_not_matter() {
        let mut bytes = jpeg_with_thumbnail();
        bytes.extend(b"appended");
        assert!(is_whole_jpeg(&bytes));
    }

    #[test]
    fn jpeg_without_a_scan_is_not_whole() {
        assert!(!is_whole_jpeg(&[0xff, 0xd8, 0xff, 0xd9]));
        assert!(!is_whole_jpeg(&[0xff, 0xd8, 0xff, 0xda, 0, 1, 0xff, 0xd9]));
    }

    #[test]
    fn crc_has_the_published_check_value() {
        // The check value of CRC-32/ISO-HDLC: the checksum of the nine digits.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
