//! Folders with everything in them that a folder can have.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::data::face_set::pixels;
use crate::data::folder::Landmarks;
use crate::data::folder::decode::{decode, decode_large};
use crate::data::folder::read;
use crate::data::folder::wanted::{Frame, Wanted};
use crate::data::random::Random;

/// With room for everything.
fn reader(wanted: impl Into<Wanted>) -> Reader {
    Reader::with(wanted.into(), 2, usize::MAX).unwrap()
}

/// A folder that is removed at the end of the test.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("face-embedding-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A folder with two people of two good pictures each, to which a test adds the bad ones.
    fn with_good_people() -> Self {
        let folder = Self::new();
        for (number, file) in ["ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png"].iter().enumerate() {
            folder.add(file, &encoded(&picture(number as u64), ImageFormat::Png));
        }
        folder
    }

    fn add(&self, file: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn load(&self) -> (FaceSet, FolderReport) {
        load(&self.0, &reader(8)).unwrap()
    }

    fn message(&self) -> String {
        format!("{:#}", load(&self.0, &reader(8)).unwrap_err())
    }

    /// Why the only file that was skipped was skipped.
    fn only_reason(&self) -> String {
        let (_, report) = self.load();
        assert_eq!(report.skipped.len(), 1, "{report}");
        report.skipped[0].reason.clone()
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A picture of noise, wider than high.
fn picture(seed: u64) -> DynamicImage {
    let mut random = Random::of(seed, &[]);
    RgbImage::from_fn(19, 13, |_, _| Rgb([0; 3].map(|_: u8| random.bits() as u8))).into()
}

fn plain(color: [u8; 3]) -> DynamicImage {
    RgbImage::from_pixel(16, 16, Rgb(color)).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_format_and_pixel_type_is_read() {
    let folder = TemporaryFolder::with_good_people();
    let noise = picture(9);
    let png = |picture: DynamicImage| encoded(&picture, ImageFormat::Png);
    folder.add("ann/gray.png", &png(noise.to_luma8().into()));
    folder.add("ann/gray-alpha.png", &png(noise.to_luma_alpha8().into()));
    folder.add("ann/alpha.png", &png(noise.to_rgba8().into()));
    folder.add("ann/16.png", &png(noise.to_rgb16().into()));
    folder.add("ann/16-gray.png", &png(noise.to_luma16().into()));
    folder.add("ann/16-alpha.png", &png(noise.to_rgba16().into()));
    folder.add("ann/a.JPEG", &encoded(&noise, ImageFormat::Jpeg));
    let gray = DynamicImage::from(noise.to_luma8());
    folder.add("ann/gray.jpg", &encoded(&gray, ImageFormat::Jpeg));
    folder.add("ann/a.webp", &encoded(&noise, ImageFormat::WebP));
    folder.add("ann/a.bmp", &encoded(&noise, ImageFormat::Bmp));
    folder.add("ann/a.ppm", &encoded(&noise, ImageFormat::Pnm));
    folder.add("ann/a.pgm", &encoded(&gray, ImageFormat::Pnm));
    folder.add("ann/text.pgm", b"P2 # comment\n2 2 9\n0 3\n6 9\n");
    folder.add("ann/16.pgm", b"P5 2 1 65535\n\x10\x00\xf0\x00");
    folder.add("ann/bits.pbm", b"P4 8 2\n\xaa\x55");
    folder.add("ann/no extension", &encoded(&noise, ImageFormat::Bmp));
    folder.add("ann/a png in truth.jpg", &png(noise));
    let (set, report) = folder.load();
    assert_eq!(report.skipped, [], "{report}");
    assert_eq!((report.kept, set.faces.len()), (21, 21));
    assert!(set.faces.iter().all(|face| face.pixels().unwrap().len() == 8 * 8 * 3));
    assert_eq!(set.pictures_per_person(), [19, 2]);
}

#[test]
fn palette_png_is_read_in_its_colors() {
    // Two by one pixels with the palette red, blue; made by hand, with stored deflate data.
    let chunk = |name: &[u8], data: &[u8]| {
        let checked = [name, data].concat();
        let length = (data.len() as u32).to_be_bytes();
        [&length[..], &checked, &crc32_bitwise(&checked).to_be_bytes()].concat()
    };
    let pixels = [0, 0b0100_0000];
    let mut data = vec![0x78, 0x01, 1, 2, 0, !2, !0];
    data.extend(pixels);
    // Adler-32 of the bytes 0 and 64: 1 + 64 and 1 + 65.
    data.extend([0, 66, 0, 65]);
    let bytes = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 1, 1, 3, 0, 0, 0]),
        chunk(b"PLTE", &[255, 0, 0, 0, 0, 255]),
        chunk(b"IDAT", &data),
        chunk(b"IEND", &[]),
    ];
    // The center square of two by one pixels is the left one.
    assert_eq!(decode(&bytes.concat(), 1).unwrap(), [255, 0, 0]);
}

/// Bit by bit from the definition; slow and independent of the table in use.
fn crc32_bitwise(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn file_cut_off_anywhere_is_skipped() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Pnm] {
        let bytes = encoded(&picture(1), format);
        assert!(decode(&bytes, 8).is_ok(), "{format:?}");
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], 8).is_err(), "{format:?} cut at {cut} of {}", bytes.len());
        }
    }
}

#[test]
fn file_cut_off_is_reported_as_broken() {
    let folder = TemporaryFolder::with_good_people();
    let bytes = encoded(&picture(1), ImageFormat::Jpeg);
    folder.add("ann/cut.jpg", &bytes[..bytes.len() / 2]);
    assert_eq!(folder.only_reason(), "broken: the Jpeg data is damaged or cut off");
}

#[test]
fn changed_byte_in_a_png_is_found() {
    let bytes = encoded(&picture(1), ImageFormat::Png);
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert!(decode(&changed, 8).is_err(), "byte {place}");
    }
}

#[test]
fn damaged_files_give_an_error_or_a_picture_of_the_right_size() {
    let mut random = Random::of(2, &[]);
    let mut rejected = 0;
    for format in [ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Pnm] {
        let bytes = encoded(&picture(1), format);
        for _ in 0..500 {
            let mut damaged = bytes.clone();
            for _ in 0..=random.below(8) {
                let place = random.below(damaged.len());
                damaged[place] = random.bits() as u8;
            }
            match decode(&damaged, 8) {
                Ok(pixels) => assert_eq!(pixels.len(), 8 * 8 * 3),
                Err(reason) => rejected += usize::from(!reason.is_empty()),
            }
        }
    }
    assert!(rejected > 100, "only {rejected} were rejected: the damage does not reach the headers");
}

#[test]
fn what_is_no_picture_is_skipped_with_its_reason() {
    let noise: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (file, bytes, reason) in [
        ("ann/empty.jpg", &b""[..], "empty"),
        ("ann/page.jpg", b"<!DOCTYPE html><title>404</title>", "not a picture"),
        ("ann/noise.png", &noise, "not a picture"),
        ("ann/list.txt", b"1.png", "not a picture"),
        ("ann/.DS_Store", b"\0\0\0\x01Bud1", "not a picture"),
        ("ann/Thumbs.db", b"\xd0\xcf\x11\xe0", "not a picture"),
        ("ann/a.png", b"GIF89a", "not a PNG, JPEG, WebP, BMP or PNM picture but Gif"),
        ("list.txt", b"", "not a picture"),
        ("1.png", b"", "not in the folder of a person"),
        ("ann/more/1.png", b"", "a folder in the folder of a person"),
        (".git/1.png", b"", "a hidden folder"),
    ] {
        let folder = TemporaryFolder::with_good_people();
        folder.add(file, bytes);
        assert_eq!(folder.only_reason(), reason, "{file}");
        assert_eq!(folder.load().0.faces.len(), 4, "{file}");
    }
}

#[test]
fn header_that_promises_too_many_pixels_is_rejected_before_decoding() {
    let mut bmp = encoded(&plain([0; 3]), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&30_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&30_000_u32.to_le_bytes());
    let mut png = encoded(&plain([0; 3]), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc32_bitwise(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    for (name, bytes) in [
        ("ppm, long side", &b"P6 8193 1 255\n"[..]),
        ("ppm, many pixels", b"P6 8000 8000 255\n"),
        ("ppm, overflow", b"P6 4294967295 4294967295 65535\n"),
        ("bmp", &bmp),
        ("png", &png),
    ] {
        let reason = decode(bytes, 8).unwrap_err();
        let says_so = reason.contains("too large") || reason.contains("imit");
        assert!(says_so || name == "ppm, overflow", "{name}: {reason}");
    }
    assert_eq!(
        decode(b"P6 8000 8000 255\n", 8).unwrap_err(),
        "too large: 8000 x 8000 pixels, and of a Pnm at most 40 megapixels are read, of a side 8192"
    );
    // 6000 * 6000 * 3 * 2 bytes.
    let reason = decode(b"P6 6000 6000 65535\n", 8).unwrap_err();
    assert!(
        reason.starts_with("too large: 6000 x 6000 pixels take 205 MiB decoded as they are, and at most 160"),
        "{reason}"
    );
}

#[test]
fn file_longer_than_the_limit_is_not_read() {
    let folder = TemporaryFolder::with_good_people();
    let path = folder.add("ann/long.jpg", b"\xff\xd8\xff");
    fs::File::options().write(true).open(path).unwrap().set_len(read::LONGEST_FILE + 1).unwrap();
    assert_eq!(folder.only_reason(), "longer than 32 MiB");
}

#[test]
fn center_square_is_kept() {
    // Green in the middle, red beside it.
    let wide =
        RgbImage::from_fn(64, 16, |x, _| if (24..40).contains(&x) { Rgb([0, 255, 0]) } else { Rgb([255, 0, 0]) });
    for picture in [DynamicImage::from(wide.clone()), DynamicImage::from(wide).rotate90()] {
        let pixels = decode(&encoded(&picture, ImageFormat::Png), 4).unwrap();
        assert_eq!(pixels, [0, 255, 0].repeat(16));
    }
}

#[test]
fn small_picture_is_enlarged() {
    let picture = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb([7, 8, 9])));
    assert_eq!(decode(&encoded(&picture, ImageFormat::Png), 3).unwrap(), [7, 8, 9].repeat(9));
}

#[test]
fn transparent_parts_become_white() {
    let decoded = |alpha| {
        let picture = RgbaImage::from_pixel(4, 4, Rgba([0, 100, 200, alpha]));
        decode(&encoded(&picture.into(), ImageFormat::Png), 1).unwrap()
    };
    assert_eq!(decoded(0), [255, 255, 255]);
    // By hand: (c * 51 + 255 * 204) / 255 = c / 5 + 204.
    assert_eq!(decoded(51), [204, 224, 244]);
    assert_eq!(decoded(255), [0, 100, 200]);
}

#[test]
fn deep_colors_are_scaled_to_eight_bits() {
    // 16 bits: 0x80ff / 257 = 128.48; a maximum of 9: 3 * 255 / 9 = 85.
    assert_eq!(decode(b"P5 1 1 65535\n\x80\xff", 1).unwrap(), [128; 3]);
    assert_eq!(decode(b"P2 1 1 9\n3\n", 1).unwrap(), [85; 3]);
}

/// Neither can be shrunk while it is read. The left half of one is gray 40, the right one 200; of the other cyan, and yellow. Written by
/// a script of the PNG specification's Adam7, and by Pillow 12.
#[test]
fn an_interlaced_png_and_a_jpeg_of_four_inks_are_read_as_they_are() {
    let interlaced = include_bytes!("interlaced.png");
    let four_inks = include_bytes!("four_inks.jpg");
    for (name, bytes, [left, right]) in [
        ("interlaced", &interlaced[..], [[40; 3], [200; 3]]),
        ("four inks", &four_inks[..], [[0, 255, 255], [255, 255, 0]]),
    ] {
        // A size of 2 would be cut out of a picture of a half of its size, if it were shrunk.
        let frame = Frame { size: 2, smallest: 1, points: None };
        let pixels = decode_large(bytes, frame, 1).unwrap();
        assert_eq!(pixels, decode(bytes, 2).unwrap(), "{name}");
        for (pixel, expected) in pixels.chunks(3).zip([left, right, left, right]) {
            // Made so small, a half has a tenth of the other one in it.
            let near = pixel.iter().zip(expected).all(|(&value, expected)| (i32::from(value) - expected).abs() <= 30);
            assert!(near, "{name}: {pixels:?}");
        }
    }
}

#[test]
fn jpeg_is_turned_upright_as_its_exif_data_asks() {
    // Left half red, right half blue; orientation 6 is to be turned clockwise: red is on top.
    let sides = RgbImage::from_fn(32, 32, |x, _| if x < 16 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
    let mut bytes = encoded(&sides.into(), ImageFormat::Jpeg);
    // One TIFF directory entry: tag 0x0112, type 3 (short), one value, 6.
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1, 0, 2 + exif.len() as u8], &exif[..]].concat();
    bytes.splice(2..2, segment);
    let pixels = decode(&bytes, 4).unwrap();
    let (top_right, bottom_left) = (&pixels[9..12], &pixels[36..39]);
    assert!(top_right[0] > 200 && top_right[2] < 60, "{top_right:?}");
    assert!(bottom_left[2] > 200 && bottom_left[0] < 60, "{bottom_left:?}");
}

#[test]
fn people_are_in_order_of_the_bytes_of_their_names() {
    let folder = TemporaryFolder::with_good_people();
    let bytes = encoded(&picture(1), ImageFormat::Png);
    for name in ["a\u{e9}", "Zoe", "\u{1f600}", "a b", "10", "9"] {
        folder.add(Path::new(name).join("1.png"), &bytes);
    }
    let (set, _) = folder.load();
    assert_eq!(set.people, ["10", "9", "Zoe", "a b", "ann", "a\u{e9}", "bob", "\u{1f600}"]);
    for face in &set.faces {
        let file = face.file.as_ref().unwrap();
        assert!(file.parent().unwrap().ends_with(&set.people[face.person]), "{file:?}");
    }
}

#[test]
fn person_without_a_usable_picture_is_dropped_and_reported() {
    let folder = TemporaryFolder::with_good_people();
    folder.add("all broken/1.png", b"\x89PNG\r\n\x1a\n");
    fs::create_dir(folder.0.join("azra")).unwrap();
    let (set, report) = folder.load();
    assert_eq!(set.people, ["ann", "bob"]);
    assert_eq!(set.pictures_per_person(), [2, 2]);
    assert_eq!(report.empty_people, [folder.0.join("all broken"), folder.0.join("azra")]);
}

#[test]
fn same_picture_under_two_names_is_a_warning() {
    let folder = TemporaryFolder::with_good_people();
    let bytes = fs::read(folder.0.join("ann/1.png")).unwrap();
    let copy = folder.add("bob/copy.png", &bytes);
    let twice = folder.add("ann/copy.png", &bytes);
    let (_, report) = folder.load();
    let first = || folder.0.join("ann/1.png");
    assert_eq!(report.same_pictures, [SamePicture { first: first(), second: copy }]);
    assert_eq!(report.repeated_pictures, [SamePicture { first: first(), second: twice }]);
    assert_eq!(report.kept, 6);
    assert!(report.to_string().contains("warning: the same picture under two names: 1"));
    assert!(report.to_string().contains("warning: the same picture twice in the folder of a person: 1"));
}

#[test]
fn folder_without_enough_people_says_what_was_found() {
    let folder = TemporaryFolder::new();
    assert!(folder.message().contains("found 0 (pictures in all: 0)"));
    folder.add("ann/1.png", &encoded(&picture(1), ImageFormat::Png));
    folder.add("bob/1.png", b"no");
    let message = folder.message();
    assert!(message.contains("found 1 (pictures in all: 1)"), "{message}");
    assert!(message.contains("1.png\": not a picture"), "{message}");
    folder.add("bob/1.png", &encoded(&picture(2), ImageFormat::Png));
    assert!(folder.message().contains("found 2 (pictures in all: 2)"));
    folder.add("bob/2.png", &encoded(&picture(3), ImageFormat::Png));
    assert_eq!(folder.load().0.faces.len(), 3);
}

#[test]
fn folder_that_cannot_be_listed_is_an_error_with_its_name() {
    let folder = TemporaryFolder::new();
    for path in [folder.0.join("absent"), folder.add("file", b"")] {
        let message = format!("{:#}", load(&path, &reader(8)).unwrap_err());
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn pictures_that_are_too_small_are_skipped() {
    let folder = TemporaryFolder::with_good_people();
    // The good ones are 19 x 13.
    folder.add("ann/small.png", &encoded(&RgbImage::new(12, 40).into(), ImageFormat::Png));
    let (set, report) = load(&folder.0, &reader(Wanted { size: 8, smallest: 13, landmarks: None })).unwrap();
    assert_eq!(set.faces.len(), 4);
    assert_eq!(report.skipped[0].reason, "too small: 12 x 40 pixels, and min_size is 13");
    let all = load(&folder.0, &reader(Wanted { size: 8, smallest: 12, landmarks: None })).unwrap();
    assert_eq!((all.0.faces.len(), all.1.skipped.len()), (5, 0));
}

#[test]
fn size_outside_the_range_is_refused() {
    for size in [0, 1025, usize::MAX] {
        let message = Reader::with(size.into(), 1, 0).unwrap_err().to_string();
        assert!(message.contains(&format!("got {size}")), "{message}");
    }
}

/// Twenty pictures of three people and as many files that are none.
fn twenty_pictures() -> TemporaryFolder {
    let folder = TemporaryFolder::new();
    for number in 0..20 {
        let name = format!("{}/{number}.png", number % 3);
        folder.add(name, &encoded(&picture(number), ImageFormat::Png));
        folder.add(format!("{}/{number}.jpg", number % 3), b"no");
    }
    folder
}

#[test]
fn neither_workers_nor_memory_change_the_pictures() {
    /// Of a picture of 8 x 8 pixels.
    const BYTES: usize = 8 * 8 * 3;
    let folder = twenty_pictures();
    let read = |workers, room| {
        let reader = Reader::with(8.into(), workers, room).unwrap();
        let (set, report) = load(&folder.0, &reader).unwrap();
        let kept = set.faces.iter().filter(|face| face.is_kept()).count();
        assert_eq!(kept, (room / BYTES).min(20), "{room} bytes");
        let faces: Vec<&Face> = set.faces.iter().collect();
        (faces.iter().map(|face| face.fingerprint()).collect::<Vec<_>>(), pixels(&faces).unwrap(), report)
    };
    let all = read(1, usize::MAX);
    assert_eq!((all.2.kept, all.2.skipped.len()), (20, 20));
    for (workers, room) in [(2, usize::MAX), (1, 0), (5, 0), (3, BYTES * 7), (2, BYTES * 8 - 1), (50, BYTES * 19)] {
        assert!(all == read(workers, room), "{workers} workers, {room} bytes");
    }
}

#[test]
fn a_picture_that_is_changed_or_gone_is_named_when_it_is_needed() {
    let folder = TemporaryFolder::with_good_people();
    let (set, _) = load(&folder.0, &Reader::with(8.into(), 2, 0).unwrap()).unwrap();
    let file = set.faces[1].file.clone().unwrap();
    let message = || {
        let error = pixels(&set.faces.iter().collect::<Vec<_>>()).unwrap_err();
        assert_eq!(pixels(&[&set.faces[0], &set.faces[2]]).unwrap().len(), 2);
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("the picture {} was changed since", file.display())), "{text}");
        text
    };
    let before = fs::read(&file).unwrap();
    fs::write(&file, encoded(&picture(77), ImageFormat::Png)).unwrap();
    assert!(message().ends_with("it is another picture"), "{}", message());
    fs::write(&file, &before[..before.len() / 2]).unwrap();
    assert!(message().ends_with("broken: the Png data is damaged or cut off"), "{}", message());
    fs::remove_file(&file).unwrap();
    assert!(message().contains("cannot be read: "), "{}", message());
    // Another file of the same picture is as good.
    fs::write(&file, encoded(&picture(1), ImageFormat::Bmp)).unwrap();
    assert_eq!(pixels(&set.faces.iter().collect::<Vec<_>>()).unwrap().len(), 4);
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn links_are_not_followed() {
        let folder = TemporaryFolder::with_good_people();
        symlink(folder.0.join("bob/1.png"), folder.0.join("ann/link.png")).unwrap();
        symlink(folder.0.join("ann"), folder.0.join("carl")).unwrap();
        symlink(&folder.0, folder.0.join("bob/loop")).unwrap();
        symlink("self.png", folder.0.join("bob/self.png")).unwrap();
        symlink("nowhere", folder.0.join("bob/nowhere.jpg")).unwrap();
        let (set, report) = folder.load();
        assert_eq!((set.people.len(), set.faces.len(), report.skipped.len()), (2, 4, 5));
        assert!(report.skipped.iter().all(|file| file.reason == "a link"), "{report}");
        assert_eq!(read::read(&folder.0.join("ann/link.png")), Err("a link".to_owned()));
    }

    #[test]
    fn pipe_without_a_writer_does_not_block() {
        let folder = TemporaryFolder::with_good_people();
        let pipe = folder.0.join("ann/pipe.png");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(folder.only_reason(), "not a regular file");
        // As if it had taken the place of a file after the folder was listed.
        assert_eq!(read::read(&pipe), Err("not a regular file".to_owned()));
    }

    #[test]
    fn socket_is_not_opened() {
        let folder = TemporaryFolder::with_good_people();
        let _socket = UnixListener::bind(folder.0.join("ann/s.png")).unwrap();
        assert_eq!(folder.only_reason(), "not a regular file");
    }

    #[test]
    fn unreadable_file_and_folder_are_skipped() {
        let folder = TemporaryFolder::with_good_people();
        let file = folder.add("ann/3.png", &encoded(&picture(7), ImageFormat::Png));
        let person = folder.add("carl/1.png", &encoded(&picture(8), ImageFormat::Png));
        let person = person.parent().unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(person, fs::Permissions::from_mode(0o000)).unwrap();
        // To the administrator everything is readable, and there is nothing to test.
        let is_administrator = fs::File::open(&file).is_ok();
        let (set, report) = folder.load();
        fs::set_permissions(person, fs::Permissions::from_mode(0o700)).unwrap();
        if is_administrator {
            assert_eq!((set.faces.len(), report.skipped.len()), (6, 0));
        } else {
            assert_eq!((set.faces.len(), report.skipped.len()), (4, 2));
            assert!(report.skipped[0].reason.starts_with("cannot be read"), "{report}");
            assert!(report.skipped[1].reason.starts_with("cannot be listed"), "{report}");
        }
    }

    #[test]
    fn names_that_are_not_text_are_read_and_printable() {
        let folder = TemporaryFolder::with_good_people();
        let bytes = encoded(&picture(1), ImageFormat::Png);
        // Some file systems refuse such names; then there is nothing to test.
        let name = Path::new(OsStr::from_bytes(b"z\xff"));
        if fs::create_dir(folder.0.join(name)).is_err() {
            return;
        }
        folder.add(name.join(OsStr::from_bytes(b"\xfe\xff.png")), &bytes);
        folder.add("new\nline/1\n2.png", &bytes);
        let (set, report) = folder.load();
        assert_eq!(set.people, ["ann", "bob", "new\\nline", "z\\xff"]);
        assert_eq!(report.skipped, []);
    }
}

#[test]
fn pictures_are_aligned_by_their_points_and_skipped_without_a_line() {
    const HEADER: &str = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n";
    // Where the template has them in a picture of 56 pixels.
    const HALF: &str = "19.1473,25.84815,36.7659,25.7507,28.0126,35.8683,20.77465,46.18275,35.36495,46.10205";
    let folder = TemporaryFolder::with_good_people();
    let face = RgbImage::from_fn(70, 60, |x, y| Rgb([x as u8 * 3, y as u8 * 3, 9]));
    folder.add("ann/face.png", &encoded(&face.clone().into(), ImageFormat::Png));
    let lines = ["ann/face.png", "bob/1.png", "bob/2.png", "ann/1.png"].map(|path| format!("{path},{HALF}\n"));
    let wanted = |text: String| {
        let file = folder.add("points.csv", text.as_bytes());
        Landmarks::read(&file).map(|points| Wanted { size: 56, smallest: 1, landmarks: Some(Arc::new(points)) })
    };
    let (set, report) = load(&folder.0, &reader(wanted(format!("{HEADER}{}", lines.concat())).unwrap())).unwrap();
    assert_eq!(set.pictures_per_person(), [2, 2]);
    let found = set.faces.iter().find(|found| found.file.as_ref().unwrap().ends_with("face.png")).unwrap();
    // Its place is that of the template, so it is cut off at the right and below, and not resized.
    let expected = RgbImage::from_fn(56, 56, |x, y| *face.get_pixel(x, y));
    assert_eq!(found.pixels().unwrap()[..], expected.into_raw()[..]);
    let reason = format!("has no line in {}", folder.0.join("points.csv").display());
    assert!(report.skipped.iter().any(|file| file.path.ends_with("2.png") && file.reason == reason), "{report}");

    for (text, message) in [
        ("a,b\n".to_owned(), "its first line must be path,x1,y1,"),
        (format!("{HEADER}a.png,1,2,3,4,5,6,7,8,9,ten\n"), "line 2: y5 must be a number, got \"ten\""),
        (format!("{HEADER}a.png,1,2,3,4,5,6,7,8,9,inf\n"), "y5 must be a number"),
        (format!("{HEADER}a.png,{HALF}\na.png,{HALF}\n"), "line 3: a.png is there twice"),
        (format!("{HEADER}a.png,1,2\n"), "record 1 (line: 2"),
    ] {
        let error = format!("{:#}", wanted(text).unwrap_err());
        assert!(error.contains(message) && error.contains("points.csv"), "{error}");
    }
}
