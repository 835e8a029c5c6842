{{- define "vfolder.labels" -}}
app.kubernetes.io/name: vfolder
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "vfolder.selector" -}}
app.kubernetes.io/name: vfolder
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "vfolder.image" -}}
{{- $name := printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- if .root.Values.imageRegistry }}{{ printf "%s/%s" .root.Values.imageRegistry $name }}{{ else }}{{ $name }}{{ end -}}
{{- end }}

{{- define "vfolder.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}
