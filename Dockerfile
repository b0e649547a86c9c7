# docker build -t magvit .                                             for CPUs
# docker build -t magvit:cuda --build-arg TORCH=https://download.pytorch.org/whl/cu128 .      for NVIDIA cards
# docker run --rm -v "$PWD:/work" magvit generate --task FP --input clip.mp4 --output made.mp4     (with cards: --gpus all)
#
# BASE may be any image of Debian or Ubuntu with Python 3.11 or newer in it or in its packages, such as
# nvidia/cuda:12.8.1-runtime-ubuntu24.04; PyTorch's wheels bring CUDA's libraries along, so a plain one will do.
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG TORCH=https://download.pytorch.org/whl/cpu

RUN python3 -c "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))" \
    || (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*)
RUN python3 -m venv /opt/magvit
ENV PATH=/opt/magvit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt --index-url ${TORCH} torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install -c constraints.txt ".[all]"

WORKDIR /work
ENTRYPOINT ["magvit"]
CMD ["--help"]
