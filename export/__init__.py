"""From a run to device files: the only room that imports tf_keras, TFMOT, the converter and the LiteRT runtimes."""
