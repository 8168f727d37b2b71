"""Settings: each declared once, with its meaning, in the file of its group; checks stand beside them.

Nothing heavy is imported here, so that a wrong setting is refused before torch is loaded.
"""

from agnn_lit.config.commands import (
    AppConfig,
    BenchmarkConfig,
    ConvertConfig,
    DashboardConfig,
    ExportConfig,
    ReportConfig,
    ScoreConfig,
)
from agnn_lit.config.compose import (
    CONF_DIR,
    SCHEMAS,
    flatten,
    keys_of,
    plain,
    register_schemas,
    stored,
    typed,
    unknown_key,
)
from agnn_lit.config.data import (
    ClipsConfig,
    DataConfig,
    EvaluatedData,
    StaticConfig,
    SyntheticConfig,
    check_data,
    default_protocol,
    uses_photographs,
)
from agnn_lit.config.inference import (
    CrfConfig,
    EvaluateConfig,
    InferenceConfig,
    InstancesConfig,
    PredictConfig,
    check_evaluate,
    check_inference,
)
from agnn_lit.config.model import BackboneConfig, ModelConfig, check_model
from agnn_lit.config.registry import ConfigError, import_plugins, option, options, register
from agnn_lit.config.setting import Changes, Setting, check_values, entries, keys
from agnn_lit.config.training import (
    LoggerConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
    TrainerConfig,
    check_train,
)

__all__ = [
    "CONF_DIR", "SCHEMAS", "AppConfig", "BackboneConfig", "BenchmarkConfig", "Changes", "ClipsConfig", "ConfigError",
    "ConvertConfig", "CrfConfig", "DashboardConfig", "DataConfig", "EvaluateConfig", "EvaluatedData", "ExportConfig",
    "InferenceConfig", "InstancesConfig", "LoggerConfig", "LossConfig", "ModelConfig", "OptimConfig",
    "PredictConfig", "ReportConfig", "ScoreConfig", "Setting", "StaticConfig", "SyntheticConfig", "TrainConfig",
    "TrainerConfig", "check_data", "check_evaluate", "check_inference", "check_model", "check_train", "check_values",
    "default_protocol", "entries", "flatten", "import_plugins", "keys", "keys_of", "option", "options", "plain",
    "register", "register_schemas", "stored", "typed", "unknown_key",
    "uses_photographs",
]  # fmt: skip
