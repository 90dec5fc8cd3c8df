//! A small network that takes noise from pictures, trained with L1 and with L2.
//!
//! `cargo run --release -p stories --bin image-denoising`

#![forbid(unsafe_code)]

use std::fmt::Write;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn::tensor::Device;
use clap::Parser;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use stories::denoising::{Loss, Noise, SIDE, pictures, psnr, spoil, train};
use stories::{Options, generator, save};

const STEPS: usize = 500;
const TESTED: usize = 32;
const SHOWN: usize = 3;
/// How many pixels of the drawing a pixel of a picture has.
const ZOOM: usize = 4;

/// Trains a small network to take noise from pictures, with L1 and with L2.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let options = Arguments::parse().options;
    let file = options.picture("image-denoising")?;
    let device = Device::flex().autodiff();
    let bare = device.clone().inner();
    // Pictures that training never sees.
    let mut random = generator(options.seed.wrapping_add(1));
    let clean = pictures(TESTED, &mut random);

    println!("PSNR in dB on {TESTED} pictures that the networks have not seen:\n");
    println!("{:<16} {:>8} {:>8} {:>8}", "noise", "noisy", "L1", "L2");
    let mut rows: Vec<Row> = Vec::new();
    for noise in Noise::ALL {
        let noisy = spoil(noise, &clean, &mut random);
        let [l1, l2] = [Loss::L1, Loss::L2].map(|loss| {
            let model = train(noise, loss, STEPS, options.seed, &device);
            model.clean(&noisy, &bare)
        });
        let figures = [&noisy, &l1, &l2].map(|pixels| psnr(pixels, &clean));
        println!("{:<16} {:>8.2} {:>8.2} {:>8.2}", noise.name(), figures[0], figures[1], figures[2]);
        rows.push((noise, figures, [clean.clone(), noisy, l1, l2]));
    }
    println!();
    for (noise, [_, l1, l2], _) in &rows {
        let (better, other) = if l1 > l2 { ("L1", "L2") } else { ("L2", "L1") };
        println!("On {} noise {better} is better than {other} by {:.2} dB.", noise.name(), (l1 - l2).abs());
    }
    println!(
        "L1 aims at the median of what a pixel may be, which a few black and white neighbours do not move; L2 aims at the mean, \
         which is what is wanted of symmetric noise and what PSNR measures."
    );
    save(&file, &drawing(&rows)?)
}

/// A noise, the PSNR of noisy pictures and of those cleaned by L1 and by L2, and the pixels of clean and of these.
type Row = (Noise, [f64; 3], [Vec<f64>; 4]);

/// Three pictures per noise: clean, noisy, by L1 and by L2.
fn drawing(rows: &[Row]) -> Result<String> {
    let (cell, left, top) = (SIDE * ZOOM + 8, 8, 48);
    let (width, height) = (4 * cell + left, rows.len() * (SHOWN * cell + top) + left);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (row, (noise, figures, columns)) in rows.iter().enumerate() {
        let y = row * (SHOWN * cell + top);
        let titles = [
            "clean".to_owned(),
            format!("noisy, {:.1} dB", figures[0]),
            format!("L1, {:.1} dB", figures[1]),
            format!("L2, {:.1} dB", figures[2]),
        ];
        writeln!(svg, "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 20, noise.name())?;
        for (column, (title, pixels)) in titles.iter().zip(columns).enumerate() {
            let x = left + column * cell;
            writeln!(svg, "<text x=\"{x}\" y=\"{}\">{title}</text>", y + 40)?;
            for (number, picture) in pixels.chunks(SIDE * SIDE).take(SHOWN).enumerate() {
                let (y, side) = (y + top + number * cell, SIDE * ZOOM);
                writeln!(
                    svg,
                    "<image x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" style=\"image-rendering:pixelated\" \
                     href=\"data:image/png;base64,{}\"/>",
                    STANDARD.encode(png(picture)?)
                )?;
            }
        }
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn png(picture: &[f64]) -> Result<Vec<u8>> {
    let pixels: Vec<u8> = picture.iter().map(|gray| (gray * 255.0).round() as u8).collect();
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(&pixels, SIDE as u32, SIDE as u32, ExtendedColorType::L8)?;
    Ok(file)
}
