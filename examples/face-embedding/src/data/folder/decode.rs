//! Turns the bytes of a file into a square RGB picture.

use std::io::Cursor;
use std::panic;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use super::align::align;
use super::complete::{is_whole_jpeg, is_whole_png, is_whole_webp};
use super::shrink::{LARGE, factor, over_white, points_in, shrunk};
use super::wanted::Frame;

/// Longest side that is decoded.
const LONGEST_SIDE: u32 = 8192;
/// Most pixels that are decoded; a header can promise any number in a few bytes.
const MOST_PIXELS: u64 = 40_000_000;
/// The same of a JPEG, which is decoded at a part of its size if it is large.
const LONGEST_JPEG_SIDE: u32 = 16_384;
const MOST_JPEG_PIXELS: u64 = 64_000_000;
/// Most bytes of a picture that is decoded as it is; there is a copy of it on the way.
const MOST_BYTES: u64 = 160 << 20;
/// Most memory a decoder may use.
const MOST_MEMORY: u64 = 4 * MOST_BYTES;

/// The center square of a picture, or its face at its place, as `size * size` RGB pixels, or why it cannot be had.
pub(super) fn decode(bytes: &[u8], frame: impl Into<Frame>) -> Result<Vec<u8>, String> {
    decode_large(bytes, frame.into(), LARGE)
}

/// As [`decode`]; a picture of so many pixels is large.
pub(super) fn decode_large(bytes: &[u8], frame: Frame, large: u64) -> Result<Vec<u8>, String> {
    // Decoders have been known to panic on files made to break them; the message of the panic goes
    // to standard error, and the file is skipped like any other broken one.
    panic::catch_unwind(|| decode_or_panic(bytes, frame, large))
        .unwrap_or_else(|_| Err("broken: the decoder gave up".to_owned()))
}

fn decode_or_panic(bytes: &[u8], frame: Frame, large: u64) -> Result<Vec<u8>, String> {
    let format = image::guess_format(bytes).map_err(|_| "not a picture".to_owned())?;
    let is_whole = match format {
        ImageFormat::Png => is_whole_png(bytes),
        ImageFormat::Jpeg => is_whole_jpeg(bytes),
        ImageFormat::WebP => is_whole_webp(bytes),
        // The decoders of these demand every byte that the header announces.
        ImageFormat::Bmp | ImageFormat::Pnm => true,
        other => return Err(format!("not a PNG, JPEG, WebP, BMP or PNM picture but {other:?}")),
    };
    if !is_whole {
        return Err(format!("broken: the {format:?} data is damaged or cut off"));
    }

    let explain = |error: image::ImageError| format!("broken: {error}");
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_JPEG_SIDE);
    limits.max_image_height = Some(LONGEST_JPEG_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(explain)?;
    let dimensions = decoder.dimensions();
    check_dimensions(format, dimensions, frame.smallest)?;
    let orientation = decoder.orientation().map_err(explain)?;
    let (mut picture, factor) = match shrunk(bytes, format, factor(dimensions, &frame, large))? {
        Some((picture, factor)) => (DynamicImage::from(picture), factor),
        None => {
            check_bytes(dimensions, decoder.total_bytes())?;
            (DynamicImage::from_decoder(decoder).map_err(explain)?, 1)
        }
    };
    let side = u32::try_from(frame.size).map_err(|_| "the size is too large".to_owned())?;
    if let Some(points) = &frame.points {
        let small = (picture.width(), picture.height());
        picture.apply_orientation(orientation);
        let points = points_in(points, factor, orientation, dimensions, small);
        return align(&on_white(picture), &points, side).map(RgbImage::into_raw);
    }
    // The center square of a turned picture is the turned center square, and much smaller.
    picture = center_square(&picture);
    picture.apply_orientation(orientation);

    let rgb = on_white(picture);
    Ok(imageops::resize(&rgb, side, side, FilterType::CatmullRom).into_raw())
}

fn check_dimensions(format: ImageFormat, (width, height): (u32, u32), smallest: usize) -> Result<(), String> {
    let (longest_side, most_pixels) = match format {
        ImageFormat::Jpeg => (LONGEST_JPEG_SIDE, MOST_JPEG_PIXELS),
        _ => (LONGEST_SIDE, MOST_PIXELS),
    };
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        Err("broken: no pixels".to_owned())
    } else if width.max(height) > longest_side || pixels > most_pixels {
        Err(format!(
            "too large: {width} x {height} pixels, and of a {format:?} at most {} megapixels are read, of a side {longest_side}",
            most_pixels / 1_000_000
        ))
    } else if (width.min(height) as usize) < smallest {
        Err(format!("too small: {width} x {height} pixels, and min_size is {smallest}"))
    } else {
        Ok(())
    }
}

/// Of a picture that cannot be shrunk while it is read.
fn check_bytes((width, height): (u32, u32), bytes: u64) -> Result<(), String> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(format!(
        "too large: {width} x {height} pixels take {} MiB decoded as they are, and at most {} MiB are; save it smaller, with 8 bits \
         per channel, or as a PNG that is not interlaced",
        bytes >> 20,
        MOST_BYTES >> 20
    ))
}

fn center_square(picture: &DynamicImage) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    picture.crop_imm((width - side) / 2, (height - side) / 2, side, side)
}

/// Lays transparent pixels over white.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [color @ .., alpha] = rgba.get_pixel(x, y).0;
        Rgb(over_white(color, alpha))
    })
}
