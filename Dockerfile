# agnn_lit in a container, as a user without rights.
#
#   docker build -t agnn-lit .
#   docker run --rm -p 7860:7860 agnn-lit                                                      # the page in the browser
#   docker run --rm -v "$PWD:/work" agnn-lit agnn-predict input=holiday.mp4 out=masks/holiday  # --user "$(id -u)" to own the files
#
# With CUDA (needs the NVIDIA container toolkit):
#
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t agnn-lit:cuda .
#   docker run --rm --gpus all -v "$PWD:/work" agnn-lit:cuda agnn-train experiment=demo
FROM python:3.12-slim

# Of torch's builds, the one of this index is taken: its version, such as 2.13.0+cpu, counts as newer than plain 2.13.0.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=app,lite,onnx,instances

WORKDIR /source
COPY pyproject.toml constraints.txt README.md ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" ".[$EXTRAS]" \
    && rm -rf /source

RUN useradd --create-home --uid 1000 agnn && mkdir /work && chown agnn /work
USER agnn
WORKDIR /work
ENV MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba WANDB_MODE=offline
EXPOSE 7860
CMD ["agnn-app", "host=0.0.0.0"]
