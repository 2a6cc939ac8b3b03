"""`python -m fcn_keras COMMAND`."""

import sys

from fcn_keras.cli import main

sys.exit(main())
