//! People that do not exist, drawn by a program.
//!
//! A person is a set of proportions, colors and marks (`identity`); a picture adds everything
//! that changes from one photograph to the next (`snapshot`): where the head looks, the expression,
//! the light, what is in front of the face, the background, the camera. The drawing (`paint`)
//! places every feature on a three-dimensional head, so that turning it moves the nose more than
//! the ears, as in a photograph.
//!
//! Only additions, multiplications, divisions, square roots and roundings are used; IEEE 754
//! defines their results exactly, so the same seed gives the same bytes on every machine.

mod canvas;
mod faces;
mod identity;
mod paint;
mod shape;
mod snapshot;
mod view;

pub use faces::ProceduralFaces;
