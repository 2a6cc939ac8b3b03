from pathlib import Path

from setuptools import find_packages, setup

VERSION = next(
    line.split('"')[1]
    for line in Path("fcn_keras/__init__.py").read_text("utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="fcn_keras",
    version=VERSION,
    description="Fully Convolutional Networks for semantic segmentation, in Keras",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["fcn_keras", "fcn_keras.*"]),
    package_data={"fcn_keras": ["py.typed", "data/tfds/builders/*/*.*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "tensorflow-datasets>=4.9.10",
        "requests",  # asks whether a mirror answers; tensorflow-datasets brings it
        "urllib3>=2.6",  # asks servers for label maps; requests brings it
        "importlib_resources",  # tensorflow-datasets 4.9.10 needs it and does not bring it
        "array_record",  # reading by number, which shuffling and resuming rest on
        "tensorboard",  # writes the events of a run
        "numpy>=2",
        "pillow>=11",
        "matplotlib>=3.9",
        "scipy",  # reads .mat label maps
        "h5py",
        "tqdm",
        "psutil",  # tells how much memory a process takes on Windows
        "filelock>=3.30",  # keeps two processes out of one folder, on Windows too
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21"],
        "torch": ["torch>=2.6"],  # reads .pth weights; a backend of the network
        # Networks to compare with: bench train --peers, bench quality; it brings PyTorch.
        "peers": ["segmentation_models_pytorch>=0.5"],
        "jax": ["jax>=0.7"],  # a backend of the network, which has tests
        # Each writes a network for another runtime, and runs it there.
        "onnx": ["onnx>=1.23", "tf2onnx>=1.17", "onnxruntime>=1.32"],
        "openvino": ["openvino>=2026.4"],
        "litert": ["ai-edge-litert>=2.3"],
        "int8": ["nncf>=3.4"],  # rounds networks to 8 bits for OpenVINO
        "polygons": ["shapely>=2.1"],  # makes outlines simpler: predict --simplify
        # Reads images of more than three channels; imagecodecs, the usual compressions.
        "tiff": ["tifffile>=2025.5", "imagecodecs"],
        "coco": ["pycocotools>=2.0.10"],  # reads data sets in COCO's form
        "yolo": ["pyyaml"],  # reads data sets in YOLO's form
        "video": ["av>=18"],  # reads films and writes them: predict FILM
        "heif": ["pillow-heif>=1.1"],  # reads .heic and .heif photographs
        "demo": ["gradio>=6.31,<7"],  # the page in the browser
        "hub": ["huggingface_hub>=1.0"],  # networks of the Hugging Face hub: hf://
        "client": ["tensorflow-serving-api>=2.21", "grpcio"],  # asks servers by gRPC
        # It holds protobuf at 6 and brings much else (kubernetes, pandas, aiohttp). All extras
        # install together; to keep protobuf at 7, give it an environment of its own.
        "serve": ["kserve>=0.21"],
        # Labels images on several machines. (Apache Beam needs an older protobuf.)
        "ray": ["ray[data]>=2.50"],
        "notebook": ["nbclient>=0.10", "ipykernel>=7"],  # runs notebooks/paper.ipynb
        "browser": ["selenium>=4.51"],  # tests that page, in Chromium
        # Builds the documents as a site: mkdocs build.
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.7", "mkdocstrings[python]>=1"],
        "test": [
            "pytest>=8",
            "pytest-xdist",  # on several cores at once
            "ruff==0.17.6",  # as .pre-commit-config.yaml has it: each version formats otherwise
            "check-jsonschema",  # what GitHub takes as workflows and forms
            "dill",  # tensorflow-datasets' test case needs it and does not bring it
            "hypothesis",
            "mypy>=1.19",
            "pycocotools>=2.0.10",  # reads polygons as others do, and Shapely checks them
            "pyyaml",
            "shapely>=2.1",
            "tifffile>=2025.5",
            "imagecodecs",
            "rasterio",  # reads what has been written of a place on the earth
            "av>=18",
            # Runs Caffe's definitions, to compare networks with; version 5 does so no more.
            "opencv-python-headless>=4.8,<5",
        ],
    },
    entry_points={"console_scripts": ["fcn-keras = fcn_keras.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
