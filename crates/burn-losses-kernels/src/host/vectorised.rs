use pulp::{Arch, Simd, WithSimd};

/// A loop that is compiled for every set of vector instructions, the best of which is chosen at run time.
pub(crate) trait Vectorised {
    type Output;

    /// `FUSED`: the processor multiplies and adds in one instruction. To be inlined, and all that it calls.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

pub(crate) fn vectorised<V: Vectorised>(this: V) -> V::Output {
    struct Run<V>(V);

    impl<V: Vectorised> WithSimd for Run<V> {
        type Output = V::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> V::Output {
            if S::IS_SCALAR { self.0.run::<false>() } else { self.0.run::<true>() }
        }
    }
    Arch::new().dispatch(Run(this))
}
