"""The science: images in, explanations out. Knows no inference statistics and no Streamlit."""

import os

# OpenMP threads that wait should sleep, not spin: beside another busy process (a server, a second
# step) spinning made a training step 13 times slower
# (measured on two cores: 1,247 against 93 ms). Must be set before torch is imported; whoever sets
# it otherwise is right.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
