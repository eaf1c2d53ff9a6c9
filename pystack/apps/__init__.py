"""Applications: ordinary blocking programs that know nothing but the modules passed to them."""
