//! Large pictures, shrunk while they are read: the whole of one never is in memory.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use jpeg_decoder::PixelFormat;
use png::{BitDepth, Transformations};

use super::align::{Points, scale};
use super::wanted::Frame;

/// From so many pixels on a picture is large.
pub(super) const LARGE: u64 = 8_000_000;
/// Pixels that are left for each pixel of the square that is cut out, in either direction.
const LEFT: u32 = 4;
/// The same where a face is brought to its place, which takes four pixels and not the mean of many.
const LEFT_OF_FACE: f64 = 2.0;

/// How many times smaller either side of a picture may become while it is read, if it has so many pixels that it is large; 1 for
/// one that is read as it is.
pub(super) fn factor((width, height): (u32, u32), frame: &Frame, large: u64) -> u32 {
    if u64::from(width) * u64::from(height) < large {
        return 1;
    }
    let factor = match &frame.points {
        None => width.min(height) / (LEFT * frame.size as u32).max(1),
        // No face is so large that this cuts it off; one of points at one place is refused later.
        Some(points) => scale(points, frame.size as u32).map_or(1.0, |scale| 1.0 / (scale * LEFT_OF_FACE)) as u32,
    };
    factor.max(1)
}

/// A picture made smaller by a factor, or by the next smaller one that its format knows, and which that is; none if it has to
/// be read as it is.
pub(super) fn shrunk(bytes: &[u8], format: ImageFormat, factor: u32) -> Result<Option<(RgbImage, u32)>, String> {
    match format {
        _ if factor == 1 => Ok(None),
        ImageFormat::Jpeg => jpeg(bytes, factor),
        ImageFormat::Png => Ok(png(bytes, factor)?.map(|picture| (picture, factor))),
        _ => Ok(None),
    }
}

/// By fewer numbers of each block of 8 x 8: the discrete cosine transform gives 4 x 4, 2 x 2 or 1 as well.
fn jpeg(bytes: &[u8], factor: u32) -> Result<Option<(RgbImage, u32)>, String> {
    let explain = |error: jpeg_decoder::Error| format!("broken: {error}");
    let Some(factor) = [8_u16, 4, 2].into_iter().find(|&known| u32::from(known) <= factor) else { return Ok(None) };
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().map_err(explain)?;
    let info = decoder.info().ok_or("broken: it has no size")?;
    let side = |side: u16| side.div_ceil(factor);
    let (width, height) = decoder.scale(side(info.width), side(info.height)).map_err(explain)?;
    let mut pixels = || decoder.decode().map_err(explain);
    let (width, height) = (width.into(), height.into());
    let picture = match info.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels()?),
        PixelFormat::L8 => GrayImage::from_raw(width, height, pixels()?)
            .map(|gray| RgbImage::from_fn(width, height, |x, y| Rgb([gray.get_pixel(x, y).0[0]; 3]))),
        // Four inks, and 16 bits.
        _ => return Ok(None),
    };
    Ok(Some((picture.ok_or("broken: it has another number of pixels")?, factor.into())))
}

/// Row by row, each pixel of the result the mean of a square; an interlaced picture has no such rows.
fn png(bytes: &[u8], factor: u32) -> Result<Option<RgbImage>, String> {
    let explain = |error: png::DecodingError| format!("broken: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(explain)?;
    let info = reader.info();
    if info.interlaced {
        return Ok(None);
    }
    let (width, height) = (info.width / factor, info.height / factor);
    let (color, depth) = reader.output_color_type();
    let (channels, step) = (color.samples(), if depth == BitDepth::Sixteen { 2 } else { 1 });
    let square = u64::from(factor) * u64::from(factor);
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for _ in 0..height {
        let mut sums = vec![[0_u64; 3]; width as usize];
        for _ in 0..factor {
            let row = reader.next_row().map_err(explain)?.ok_or("broken: rows are missing")?;
            let cells = row.data().chunks_exact(channels * step * factor as usize);
            for (sums, cell) in sums.iter_mut().zip(cells) {
                for pixel in cell.chunks_exact(channels * step) {
                    let color = on_white(pixel, channels, step);
                    sums.iter_mut().zip(color).for_each(|(sum, value)| *sum += u64::from(value));
                }
            }
        }
        pixels.extend(sums.iter().flatten().map(|sum| ((sum + square / 2) / square) as u8));
    }
    RgbImage::from_raw(width, height, pixels).map(Some).ok_or_else(|| "broken: it has another number of pixels".into())
}

/// The color of a pixel of one to four channels of one or two bytes, over white.
fn on_white(pixel: &[u8], channels: usize, bytes: usize) -> [u8; 3] {
    let value = |channel: usize| match bytes {
        1 => pixel[channel],
        _ => {
            let deep = u16::from_be_bytes([pixel[2 * channel], pixel[2 * channel + 1]]);
            ((u32::from(deep) + 128) / 257) as u8
        }
    };
    let is_gray = channels < 3;
    let color = [0, 1, 2].map(|channel| value(if is_gray { 0 } else { channel }));
    if channels % 2 == 1 { color } else { over_white(color, value(channels - 1)) }
}

/// A color of some transparency over white: what is stored below transparent pixels is arbitrary.
pub(super) fn over_white(color: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    color.map(|channel| ((u32::from(channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

/// Where points of an upright picture are in the same picture made smaller; the sizes are those before it is turned upright.
///
/// A pixel of the smaller one is the mean of a square of the other that begins at the left and above in the file, which is not
/// where it begins in a picture that is turned or mirrored.
pub(super) fn points_in(
    points: &Points,
    factor: u32,
    orientation: Orientation,
    full: (u32, u32),
    small: (u32, u32),
) -> Points {
    use Orientation::*;
    if factor == 1 {
        return *points;
    }
    let (is_turned, mirrored) = match orientation {
        NoTransforms => (false, [false, false]),
        FlipHorizontal => (false, [true, false]),
        FlipVertical => (false, [false, true]),
        Rotate180 => (false, [true, true]),
        Rotate90FlipH => (true, [false, false]),
        Rotate90 => (true, [true, false]),
        Rotate270 => (true, [false, true]),
        Rotate270FlipH => (true, [true, true]),
    };
    let last = |(width, height): (u32, u32)| {
        let size = if is_turned { [height, width] } else { [width, height] };
        size.map(|side| f64::from(side) - 1.0)
    };
    let (full, small, factor) = (last(full), last(small), f64::from(factor));
    let shrink = |place: f64| (place - (factor - 1.0) / 2.0) / factor;
    points.map(|point| {
        [0, 1].map(
            |axis| {
                if mirrored[axis] { small[axis] - shrink(full[axis] - point[axis]) } else { shrink(point[axis]) }
            },
        )
    })
}

#[cfg(test)]
mod tests;
