// Estimates one scan and prints the values. Replace read_scan by the reading of your sensor.
#include <soil_model.h>

static float scan[SOIL_BANDS];
static float work[SOIL_WORK_FLOATS];

static void read_scan(float *values)
{
    for (int band = 0; band < SOIL_BANDS; ++band) {
        values[band] = 0.0f;  // the value at soil_wavelength_nm(band)
    }
}

void setup()
{
    Serial.begin(115200);
}

void loop()
{
    soil_result result;
    read_scan(scan);
    const soil_status status = soil_estimate(scan, work, &result);
    Serial.println(soil_status_text(status));
    if (soil_shows_values(status, 0)) {
        for (int target = 0; target < SOIL_TARGETS; ++target) {
            Serial.print(soil_target_name(target));
            Serial.print(": ");
            Serial.print(result.value[target]);
            if (soil_is_finite(result.low[target])) {
                Serial.print(" (");
                Serial.print(result.low[target]);
                Serial.print(" to ");
                Serial.print(result.high[target]);
                Serial.print(")");
            }
            Serial.println();
        }
    }
    delay(1000);
}
