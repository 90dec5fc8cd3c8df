//! Pictures that are shrunk while they are read, beside the same ones that are not.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgba, imageops};

use super::super::decode::{decode, decode_large};
use super::*;
use crate::data::procedural::ProceduralFaces;

/// A drawn face; no side of it is a multiple of eight.
fn face() -> RgbImage {
    let drawn = ProceduralFaces { people: 1, pictures_per_person: 1, size: 512, seed: 4 }.generate();
    let pixels = drawn.faces[0].pixels().expect("it is in memory");
    let face = RgbImage::from_raw(512, 512, pixels.to_vec()).expect("three bytes a pixel");
    imageops::crop_imm(&face, 3, 30, 509, 437).to_image()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("it can be encoded");
    bytes.into_inner()
}

/// A JPEG with EXIF data that say how it is to be turned.
fn turned(mut jpeg: Vec<u8>, orientation: u8) -> Vec<u8> {
    // One TIFF directory entry: tag 0x0112, type 3 (short), one value.
    let exif =
        [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], b"\0\0\0\0\0\0"].concat();
    let segment = [&[0xff, 0xe1, 0, 2 + exif.len() as u8], &exif[..]].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

/// The mean and the largest difference of two pictures, in steps of 255.
fn difference(one: &[u8], other: &[u8]) -> (f64, u8) {
    assert_eq!(one.len(), other.len());
    let differences: Vec<u8> = one.iter().zip(other).map(|(one, other)| one.abs_diff(*other)).collect();
    let sum: f64 = differences.iter().map(|&value| f64::from(value)).sum();
    (sum / one.len() as f64, differences.into_iter().max().unwrap_or(0))
}

/// A face at its place, each pixel the mean of 16 x 16 of one that is sixteen times as large: without that, what is decoded as it
/// is takes four pixels of many and leaves out the others.
fn face_of_means(bytes: &[u8], points: Points, side: usize) -> Vec<u8> {
    const TIMES: usize = 16;
    let large = decode(bytes, Frame { size: TIMES * side, smallest: 1, points: Some(points) }).expect("it is whole");
    let mean = |x: usize, y: usize, channel: usize| {
        // Around the place of the pixel.
        let window = |at: usize| (TIMES * at).saturating_sub(TIMES / 2)..(TIMES * at + TIMES / 2).min(TIMES * side);
        let of = window(y).flat_map(|y| window(x).map(move |x| (y * TIMES * side + x) * 3 + channel));
        let values: Vec<f64> = of.map(|at| large[at].into()).collect();
        (values.iter().sum::<f64>() / values.len() as f64).round() as u8
    };
    let pixels = (0..side * side).flat_map(|at| [0, 1, 2].map(|channel| mean(at % side, at / side, channel)));
    pixels.collect()
}

/// Squares within a mean of 2.5 of 255 levels and at most 32 of them, faces within 3.5 and 48.
#[test]
fn a_shrunk_picture_is_close_to_one_that_is_decoded_as_it_is() {
    const SIZE: usize = 24;
    let picture = DynamicImage::from(face());
    let jpeg = encoded(&picture, ImageFormat::Jpeg);
    // A face of 392 pixels; the numbers are those of the template of 112.
    let points = [[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]];
    let points = points.map(|[x, y]| [3.5 * x + 40.0, 3.5 * y + 10.0]);
    let mut files = vec![("png".to_owned(), encoded(&picture, ImageFormat::Png))];
    files.extend([1, 3, 6, 8].map(|orientation| (format!("jpeg {orientation}"), turned(jpeg.clone(), orientation))));
    for (name, bytes) in &files {
        let square = Frame { size: SIZE, smallest: 1, points: None };
        let aligned = Frame { points: Some(points), ..square };
        assert_eq!([square, aligned].map(|frame| factor((509, 437), &frame, 0)), [4, 8]);
        let small = [square, aligned].map(|frame| decode_large(bytes, frame, 0).expect("it is whole"));
        let full = [decode(bytes, square).expect("it is whole"), face_of_means(bytes, points, SIZE)];
        let found = [0, 1].map(|case| difference(&small[case], &full[case]));
        println!("{name}: {found:?}");
        assert!(found[0].0 < 2.5 && found[0].1 <= 32, "{name}: {found:?}");
        assert!(found[1].0 < 3.5 && found[1].1 <= 48, "{name}: {found:?}");
        assert!(small[0] != full[0], "{name}");
    }
}

/// A pixel is the mean of a square, by sums of its own.
#[test]
fn a_png_of_every_kind_is_shrunk_to_means_over_white() {
    let face = imageops::resize(&face(), 23, 14, imageops::FilterType::Triangle);
    let value = |x: u32, y: u32| face.get_pixel(x, y).0;
    let alpha = |x: u32, y: u32| (x * 11 + y) as u8;
    let deep = |value: u8| u16::from(value) * 257;
    let (gray, clear) = (|x, y| value(x, y)[0], |x, y| over_white(value(x, y), alpha(x, y)));
    let with_alpha = |x, y| [value(x, y)[0], value(x, y)[1], value(x, y)[2], alpha(x, y)];
    let buffers: [(DynamicImage, bool, bool); 6] = [
        (face.clone().into(), false, false),
        (image::GrayImage::from_fn(23, 14, |x, y| Luma([gray(x, y)])).into(), true, false),
        (image::GrayAlphaImage::from_fn(23, 14, |x, y| LumaA([gray(x, y), alpha(x, y)])).into(), true, true),
        (image::RgbaImage::from_fn(23, 14, |x, y| Rgba(with_alpha(x, y))).into(), false, true),
        (image::ImageBuffer::from_fn(23, 14, |x, y| Rgb(value(x, y).map(deep))).into(), false, false),
        (image::ImageBuffer::from_fn(23, 14, |x, y| Rgba(with_alpha(x, y).map(deep))).into(), false, true),
    ];
    for (picture, is_gray, has_alpha) in buffers {
        let bytes = encoded(&picture, ImageFormat::Png);
        let (small, _) = shrunk(&bytes, ImageFormat::Png, 5).expect("it is whole").expect("it has rows");
        assert_eq!(small.dimensions(), (4, 2));
        for (x, y, pixel) in small.enumerate_pixels() {
            for channel in 0..3 {
                let of = |(x, y): (u32, u32)| match (is_gray, has_alpha) {
                    (true, false) => gray(x, y),
                    (true, true) => over_white([gray(x, y); 3], alpha(x, y))[channel],
                    (false, false) => value(x, y)[channel],
                    (false, true) => clear(x, y)[channel],
                };
                let square = (0..25).map(|place| f64::from(of((5 * x + place % 5, 5 * y + place / 5))));
                let mean = square.sum::<f64>() / 25.0;
                assert_eq!(pixel.0[channel], mean.round() as u8, "{:?} at {x}, {y}", picture.color());
            }
        }
    }
}

/// By hand: 8 and 4 are the factors of 13 and 7 that a JPEG knows, and 4000 x 2000 is the smallest large picture.
#[test]
fn only_large_pictures_are_shrunk_and_not_below_four_times_their_size() {
    let square = Frame { size: 112, smallest: 1, points: None };
    let of = |dimensions| factor(dimensions, &square, LARGE);
    assert_eq!([of((8000, 6000)), of((4000, 2000)), of((3999, 2000)), of((6300, 6300))], [13, 4, 1, 14]);
    // A face as small as it is wanted, and one of six times that.
    let points = |times: f64| {
        [[0.0, 0.0], [35.2, -0.2], [17.7, 20.0], [3.3, 40.7], [32.4, 40.5]]
            .map(|point| point.map(|place: f64| place * times))
    };
    let of_face = |times| factor((8000, 6000), &Frame { points: Some(points(times)), ..square }, LARGE);
    assert_eq!([of_face(1.0), of_face(6.2)], [1, 3]);
    assert_eq!(factor((8000, 6000), &Frame { points: Some([[7.0; 2]; 5]), ..square }, LARGE), 1);
    let jpeg = encoded(&DynamicImage::from(face()), ImageFormat::Jpeg);
    let by = |factor| {
        shrunk(&jpeg, ImageFormat::Jpeg, factor).expect("it is whole").map(|(picture, by)| (picture.dimensions(), by))
    };
    assert_eq!(
        [by(13), by(7), by(3), by(1)],
        [Some(((64, 55), 8)), Some(((128, 110), 4)), Some(((255, 219), 2)), None]
    );
}

/// By hand, of 10 x 9 pixels that become 3 x 3: the second cell begins at 4 and has its middle at 5.5.
#[test]
fn points_stay_in_their_cells_however_a_picture_is_turned() {
    let of = |point: [f64; 2], orientation| points_in(&[point; 5], 4, orientation, (10, 9), (3, 3))[0];
    assert_eq!(of([5.5, 1.5], Orientation::NoTransforms), [1.0, 0.0]);
    assert_eq!(of([3.5, 6.5], Orientation::Rotate180), [1.0, 2.0]);
    // Clockwise: the rows from below become the columns from the left.
    assert_eq!(of([6.5, 5.5], Orientation::Rotate90), [2.0, 1.0]);
    assert_eq!(of([1.5, 3.5], Orientation::Rotate270), [0.0, 1.0]);
}

/// A JPEG of one color, by hand: every block is the two bits of "no difference" and "nothing more".
fn plain_jpeg(width: u16, height: u16) -> Vec<u8> {
    let [w, h] = [width, height].map(u16::to_be_bytes);
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    jpeg.extend([1; 64]);
    jpeg.extend([0xff, 0xc0, 0, 17, 8, h[0], h[1], w[0], w[1], 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    for table in [0, 0x10] {
        jpeg.extend([0xff, 0xc4, 0, 20, table, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    jpeg.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let blocks = 3 * usize::from(width.div_ceil(8)) * usize::from(height.div_ceil(8));
    jpeg.resize(jpeg.len() + (2 * blocks).div_ceil(8), 0);
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

/// Sixty megapixels, which are 172 MiB decoded as they are.
#[test]
fn a_photograph_of_many_megapixels_is_read_unless_its_face_is_small() {
    let jpeg = plain_jpeg(9504, 6336);
    assert_eq!(decode(&jpeg, 40).expect("it is large"), [128; 40 * 40 * 3]);
    let points = Some([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]);
    let reason = decode(&jpeg, Frame { size: 112, smallest: 1, points }).expect_err("as small as it is wanted");
    assert!(reason.starts_with("too large: 9504 x 6336 pixels take 172 MiB decoded as they are"), "{reason}");
    let reason = decode(&plain_jpeg(9504, 9504), 40).expect_err("90 megapixels");
    assert_eq!(reason, "too large: 9504 x 9504 pixels, and of a Jpeg at most 64 megapixels are read, of a side 16384");
}
