"""`python -m fcn_keras COMMAND`."""

import sys

from fcn_keras.cli.app import main

sys.exit(main())
