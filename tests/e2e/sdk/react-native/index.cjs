// What Segment's React Native SDK asks of the phone: its context, its state in front or behind, native modules.
const contextInfo = {
  appName: 'Cửa hàng', appVersion: '2.1.0', buildNumber: '210', bundleId: 'vn.example.shop', locale: 'vi-VN',
  networkType: 'wifi', osName: 'Android', osVersion: '15', screenHeight: 2400, screenWidth: 1080, screenDensity: 3,
  timezone: 'Asia/Ho_Chi_Minh', manufacturer: 'Google', model: 'Pixel 9', deviceName: 'pixel', deviceId: 'device-1', deviceType: 'android',
}

class NativeEventEmitter {
  addListener() { return { remove() {} } }
  removeAllListeners() {}
}

module.exports = {
  NativeModules: {
    AnalyticsReactNative: { getContextInfo: async () => contextInfo },
    AnalyticsReactNativeSegmentSovran: undefined,
  },
  NativeEventEmitter,
  Platform: { OS: 'android', select: (choices) => choices.android ?? choices.default },
  AppState: { currentState: 'active', addEventListener: () => ({ remove() {} }) },
}
